"""`antiphon serve` as processes: a supervisor, an engine for each device, and frontends that speak gRPC.

    supervisor   keeps the others running, counts what belongs to all frontends, ends everything in order
    engine       the models, and the state of the dialogues that are its; knows nothing of gRPC and of other engines
    frontend     `antiphon.engine.service`: keys, codecs, voice activity, pacing; knows the engines as `EngineGroup`

They are joined by Unix sockets that carry the messages of `antiphon.engine.messages`, each a frame of JSON and raw
audio (`codec`, `link`). A socket, unlike a message queue that connects again by itself, tells the death of the other
side at once, and what waits in it is counted in bytes; nothing has to be installed for it.

The supervisor holds a socket pair with each child: its orders go down, signs of life come up, and a child whose pair
ends knows that nobody looks after it any more. Frontends connect to each engine by a socket in a folder of the
supervisor's own, 0700.
"""
