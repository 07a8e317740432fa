// Budgets and costs the scheduler plans within. What each means stands in settings.py, which also checks them.
#pragma once

#include <cmath>
#include <cstdint>

namespace antiphon {

struct Settings {
    std::int64_t n_pages;
    std::int64_t page_size;
    std::int64_t max_dialogues;
    std::int64_t max_row_pages;
    std::int64_t max_rows;
    std::int64_t max_tokens;
    std::int64_t max_solves;
    std::int64_t max_solve_frames;
    std::int64_t max_encodes;
    std::int64_t max_encode_frames;
    std::int64_t solve_steps;
    std::int64_t max_repeats;
    double lm_seconds;
    double solve_seconds;
    double vocode_seconds;
    double encode_seconds;
    double first_audio_seconds;
    double patience_seconds;
    double max_lead_seconds;
    double max_unread_seconds;
    double heard_slack_seconds;
    double frame_seconds;

    std::int64_t pages_for(std::int64_t positions) const { return (positions + page_size - 1) / page_size; }
};

struct Costs {
    double lm_row = 0;
    double prefill_token = 0;
    double solve_frame = 0;
    double solve_frame_squared = 0;
    double vocode_frame = 0;
    double encode_frame = 0;
};

// How many of `most` fit into the time; all where their cost is not known.
inline std::int64_t affordable(double seconds, double each, std::int64_t most) {
    if (each == 0 || seconds / each >= static_cast<double>(most)) {
        return most;
    }
    const double count = std::floor(seconds / each);
    return count > 0 ? static_cast<std::int64_t>(count) : 0;
}

}  // namespace antiphon
