"""API keys: the file, its changes, and what a call presents."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from antiphon.engine.clock import VirtualClock
from antiphon.engine.service.keys import ApiKeys, KeyFileError
from antiphon.engine.service.refusals import Reason, RefusalError

ALICE = "alice-key-" + "a" * 30
BOB = "bob-key-" + "b" * 30
CAROL = "carol-key-" + "c" * 30


def bearer(key: str) -> list[tuple[str, str | bytes]]:
    return [("user-agent", "test"), ("authorization", f"Bearer {key}")]


def hashed(key: str) -> str:
    return "sha256:" + sha256(key.encode()).hexdigest()


class KeyFileUnderTest:
    """A key file, its reader, and a clock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.write_text(f"# who may call\n\nalice:{ALICE}\n  bob:{hashed(BOB)}\r\n")
        self.clock = VirtualClock()
        self.keys = ApiKeys(self.path, self.clock)

    def replace(self, content: str) -> None:
        """Another version, looked at when the next call comes."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(content)
        os.replace(fresh, self.path)
        self.clock.advance(1.0)

    def name_of(self, key: str) -> str | None:
        try:
            return self.keys.authenticate(bearer(key)).name
        except RefusalError:
            return None


@pytest.fixture
def file(tmp_path: Path) -> KeyFileUnderTest:
    return KeyFileUnderTest(tmp_path / "keys")


def test_a_key_is_known_written_out_or_hashed(file: KeyFileUnderTest) -> None:
    assert file.name_of(ALICE) == "alice"
    assert file.name_of(BOB) == "bob"
    assert file.keys.authenticate([("x-api-key", BOB)]).name == "bob"
    assert file.keys.authenticate([("authorization", f"bearer {ALICE}")]).name == "alice"
    assert file.keys.authenticate([("authorization", "Bearer a.gateways.own"), ("x-api-key", BOB)]).name == "bob"


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ([], Reason.API_KEY_MISSING),
        ([("authorization", ALICE)], Reason.API_KEY_MISSING),
        ([("authorization", "Bearer ")], Reason.API_KEY_MISSING),
        ([("x-api-key-bin", ALICE.encode())], Reason.API_KEY_MISSING),
        (bearer(CAROL), Reason.API_KEY_INVALID),
        (bearer(ALICE[:-1]), Reason.API_KEY_INVALID),
        (bearer(sha256(BOB.encode()).hexdigest()), Reason.API_KEY_INVALID),
        ([("x-api-key", "")], Reason.API_KEY_INVALID),
        ([("x-api-key", "schlüssel\udcff")], Reason.API_KEY_INVALID),
        ([*bearer(ALICE), *bearer(BOB)], Reason.API_KEY_INVALID),
    ],
)
def test_what_is_no_key_is_refused(
    file: KeyFileUnderTest, metadata: list[tuple[str, str | bytes]], reason: Reason
) -> None:
    with pytest.raises(RefusalError) as refusal:
        file.keys.authenticate(metadata)
    assert refusal.value.reason is reason
    assert ALICE not in str(refusal.value) and CAROL not in str(refusal.value)


def test_every_key_is_compared_whichever_matches(file: KeyFileUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    file.replace(f"alice:{ALICE}\nbob:{BOB}\ncarol:{CAROL}\n")
    compared: list[bytes] = []

    def compare(known: bytes, presented: bytes) -> bool:
        compared.append(known)
        return known == presented

    monkeypatch.setattr("antiphon.engine.service.keys.hmac.compare_digest", compare)
    for key, name in ((ALICE, "alice"), (CAROL, "carol"), ("x" * 40, None)):
        compared.clear()
        assert file.name_of(key) == name
        assert len(compared) == 3


def test_a_changed_file_is_read_again_at_most_once_a_second(file: KeyFileUnderTest) -> None:
    file.replace(f"alice:{ALICE}\ncarol:{CAROL}\n")
    assert (file.name_of(CAROL), file.name_of(BOB)) == ("carol", None)

    file.path.write_text(f"bob:{BOB}\n")
    assert file.name_of(BOB) is None
    file.clock.advance(1.0)
    assert (file.name_of(BOB), file.name_of(ALICE)) == ("bob", None)


def test_a_revoked_key_names_its_dialogues(file: KeyFileUnderTest) -> None:
    alice, bob = (file.keys.authenticate(bearer(key)) for key in (ALICE, BOB))
    held = {"d1": alice, "d2": bob, "d3": alice}
    assert file.keys.revoked(held) == []

    # The name stays with another key: the dialogues that the old one opened end all the same.
    file.replace(f"alice:{CAROL}\nbob:{hashed(BOB)}\n")
    assert file.keys.revoked(held) == ["d1", "d3"]

    file.replace(f"alice:{ALICE}\nalice:{CAROL}\nbob:{BOB}\n")
    assert file.keys.revoked(held) == []


def test_a_faulty_version_is_not_taken_and_its_line_is_told(
    file: KeyFileUnderTest, caplog: pytest.LogCaptureFixture
) -> None:
    file.replace(f"carol:{CAROL}\nalice {ALICE}\n")
    assert (file.name_of(ALICE), file.name_of(CAROL)) == ("alice", None)
    (record,) = caplog.records
    assert (record.message, record.__dict__["antiphon_fields"]) == ("api_key_file_not_taken", {"line": 2})

    file.replace("# nobody\n")
    assert file.name_of(ALICE) == "alice"
    file.path.unlink()
    file.clock.advance(1.0)
    assert file.name_of(ALICE) == "alice"
    assert len(caplog.records) == 3  # once a version, not once a call
    assert ALICE not in caplog.text and CAROL not in caplog.text

    file.replace(f"carol:{CAROL}\n")
    assert (file.name_of(ALICE), file.name_of(CAROL)) == (None, "carol")


@pytest.mark.parametrize(
    ("content", "line", "told"),
    [
        (f"alice:{ALICE}\nSECRETNAME", 2, "expected NAME:KEY"),
        (f"{ALICE}:{BOB}", 1, "a name of 1 to 31"),
        ("alice:short-SECRET", 1, "32 to 256 visible"),
        ("alice:" + "SECRET " * 8, 1, "32 to 256 visible"),
        ("alice:" + "ü" * 40, 1, "32 to 256 visible"),
        ("alice:sha256:SECRET", 1, "64 hexadecimal"),
        (f"alice:{ALICE}\n\nbob:{hashed(ALICE)}", 3, "the key of line 1 again"),
        ("", None, "holds no key"),
        ("# nobody\n", None, "holds no key"),
    ],
)
def test_a_faulty_file_is_refused_at_the_start(tmp_path: Path, content: str, line: int | None, told: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content, "utf-8")
    with pytest.raises(KeyFileError, match=told) as error:
        ApiKeys(path, VirtualClock())
    assert error.value.line == line
    assert all(secret not in str(error.value) for secret in ("SECRET", ALICE, BOB, "ü"))


def test_a_missing_file_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        ApiKeys(tmp_path / "keys", VirtualClock())


def test_a_recognised_key_does_not_show_itself(file: KeyFileUnderTest) -> None:
    assert repr(file.keys.authenticate(bearer(ALICE))) == "ApiKey(name='alice')"
