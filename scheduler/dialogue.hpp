// One dialogue as the scheduler knows it: numbers, phases and deadlines. Times are seconds of one clock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "playback.hpp"
#include "settings.hpp"

namespace antiphon {

constexpr double infinity = std::numeric_limits<double>::infinity();

// What a dialogue's LM sequence is for at the moment.
enum class Phase : std::uint8_t {
    idle,       // nobody waits for it
    listening,  // its caller speaks: ids may be computed ahead
    answering,  // its turn waits for ids
    ending,     // the LM is through; audio may still be made
};

inline const char* name_of(Phase phase) {
    constexpr const char* names[] = {"idle", "listening", "answering", "ending"};
    return names[static_cast<std::size_t>(phase)];
}

// Why its audio waits for the encoder, the most urgent first. hearing.py has the same numbers.
enum class Hearing : std::uint8_t {
    committed,
    closed,
    guess,
};

// A chunk of speech between the moment its tokens are there and the moment its audio is.
struct Chunk {
    std::int64_t solve_frames = 0;  // of the flow's call, prompt included
    std::int64_t wave_frames = 0;   // that become audio
    std::int64_t steps = 0;         // Euler steps done
    std::int64_t planned = 0;       // steps the latest plan asks for
    bool vocoding = false;          // the latest plan asks for its audio
    double passed = 0;              // seconds of steps it was passed over for first chunks
};

// Invariants: shared <= pages.size(); the pages hold `computed` positions and those planned; computed <= total.
struct Dialogue {
    std::int32_t number = 0;
    Phase phase = Phase::idle;
    bool has_prefix = false;
    bool has_chunk = false;
    bool encode_planned = false;
    bool dropped = false;  // by the LM plan in the making
    bool marked = false;   // within one call
    std::int64_t prefix = 0;
    std::vector<std::int32_t> pages;
    std::int64_t shared = 0;    // of the pages, the first so many belong to a prefix
    std::int64_t computed = 0;  // positions whose KV is in the pages
    std::int64_t total = 0;     // positions there are ids for
    std::int64_t planned = 0;   // positions the latest plan computes
    double touched = 0;         // when its KV was last of use
    double since = 0;           // when it began to listen
    std::int64_t past = 0;      // positions there were then: those after them are worked on ahead
    double committed = 0;       // when its turn was committed
    std::int64_t arrival = 0;   // the order of commits
    Playback playback;
    double unread = 0;  // seconds of audio that its client has not taken
    std::int64_t encode_frames = 0;  // of its audio, those that wait for the encoder
    double encode_since = 0;         // when they began to
    Hearing hearing = Hearing::committed;
    Chunk chunk;  // where has_chunk

    std::int64_t uncomputed() const { return total - computed; }

    bool wants_lm() const { return phase == Phase::answering && computed < total; }

    // Positions to compute before the commit: all but the last, so that one is left to answer from.
    std::int64_t ahead() const {
        return phase == Phase::listening ? std::max<std::int64_t>(0, total - 1 - computed) : 0;
    }

    bool is_decoding() const { return wants_lm() && uncomputed() == 1; }

    std::int64_t own_pages() const { return static_cast<std::int64_t>(pages.size()) - shared; }

    // When its next audio must be there. One that has run dry already lets those pass that can still be saved.
    double due(const Settings& settings, double now) const {
        if (!playback.started) {
            return committed + settings.first_audio_seconds;
        }
        return playback.runs_out < now ? playback.runs_out + settings.patience_seconds : playback.runs_out;
    }

    // Seconds of audio in the chunk under way.
    double pending(const Settings& settings) const {
        return has_chunk ? static_cast<double>(chunk.wave_frames) * settings.frame_seconds : 0;
    }

    // When the chunk after the one under way must be there, which is the one the LM works for.
    double lm_due(const Settings& settings, double now) const { return due(settings, now) + pending(settings); }

    // The LM may go on from then: playback is no longer further behind than the limit.
    double lm_wakes(const Settings& settings) const {
        return playback.started ? playback.runs_out + pending(settings) - settings.max_lead_seconds : -infinity;
    }

    // The chunk may start from then.
    double chunk_wakes(const Settings& settings) const {
        return playback.started ? playback.runs_out - settings.max_lead_seconds : -infinity;
    }

    bool has_backlog(const Settings& settings) const { return unread > settings.max_unread_seconds; }

    bool lm_paused(double now, const Settings& settings) const {
        return has_backlog(settings) || now < lm_wakes(settings);
    }

    // Whether its chunk, if it waits, does not start for now. One that has started goes on.
    bool chunk_paused(double now, const Settings& settings) const {
        return has_backlog(settings) || now < chunk_wakes(settings);
    }

    // Seconds of one Euler step of its chunk.
    double step_cost(const Costs& costs) const {
        const double frames = static_cast<double>(chunk.solve_frames);
        return costs.solve_frame * frames + costs.solve_frame_squared * frames * frames;
    }
};

}  // namespace antiphon
