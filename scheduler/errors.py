"""What the scheduler raises on purpose. Misuse of a call (an unknown page, a negative count) is a plain ValueError."""


class OutOfPages(Exception):
    """More pages were asked for than are free. Nothing was taken: wait for pages to be released, or release some."""

    def __init__(self, asked: int, free: int, total: int) -> None:
        super().__init__(f"{asked} pages asked for, {free} of {total} are free")
        self.asked = asked
        self.free = free
        self.total = total

    def __reduce__(self) -> tuple[type["OutOfPages"], tuple[int, int, int]]:
        return type(self), (self.asked, self.free, self.total)
