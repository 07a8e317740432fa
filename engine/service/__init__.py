"""The gRPC service: the engine on a network.

What needs no wire message of ours stands in small parts, each on an injected clock:

    refusals    why the service says no: the reasons of the wire, and the errors that carry them
    status      from an error to the google.rpc.Status that a client reads
    keys        who calls: the file of API keys
    quotas      how much: dialogues, audio, sizes and times
    tls         the server's certificate, and the authorities whose clients it takes
    pacing      an answer in packets, not too far ahead of its playback
    playback    how much of an answer was heard
    logs        one JSON object a line, without a word of what is said
"""
