"""`antiphon serve` as processes: a supervisor, one engine, and frontends that speak gRPC.

    supervisor   keeps the others running, counts what belongs to all frontends, ends everything in order
    engine       the models, and every dialogue's state; knows nothing of gRPC
    frontend     `antiphon.engine.service`: keys, codecs, voice activity, pacing; knows the engine as `RemoteEngine`

They are joined by Unix sockets that carry the messages of `antiphon.engine.messages`, each a frame of JSON and raw
audio (`codec`, `link`). A socket, unlike a message queue that connects again by itself, tells the death of the other
side at once, and what waits in it is counted in bytes; nothing has to be installed for it.

The supervisor holds a socket pair with each child: its orders go down, signs of life come up, and a child whose pair
ends knows that nobody looks after it any more. Frontends connect to the engine by a socket in a folder of the
supervisor's own, 0700.
"""
