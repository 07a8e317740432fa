// What a client has been sent of an answer, and when it runs out of it. Times are seconds of one clock.
#pragma once

#include <algorithm>

namespace antiphon {

struct Playback {
    bool started = false;
    double sent = 0;      // seconds of audio
    double runs_out = 0;  // the moment at which all of it has been played

    // More audio went out. Returns how late it came: for how long playback had been dry.
    double send(double seconds, double now) {
        if (seconds == 0) {
            return 0;
        }
        const double late = started && now > runs_out ? now - runs_out : 0;
        runs_out = started && runs_out > now ? runs_out + seconds : now + seconds;
        started = true;
        sent += seconds;
        return late;
    }

    // Seconds heard by now, as the clock says.
    double heard(double now) const { return runs_out > now ? sent - (runs_out - now) : sent; }

    double lead(double now) const { return started ? std::max(runs_out - now, 0.0) : 0; }

    // The client says how much it has heard: believed up to what was sent, and to the clock with some slack.
    void report(double seconds, double now, double slack) {
        const double left = sent - std::min({seconds, sent, heard(now) + slack});
        runs_out = left > 0 ? now + left : std::min(runs_out, now);
    }
};

}  // namespace antiphon
