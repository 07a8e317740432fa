// What a plan says beside the buffers: how much was written into each, and when to plan again.
#pragma once

#include <cstdint>

#include "dialogue.hpp"

namespace antiphon {

struct Plan {
    std::int64_t lm_rows = 0;
    std::int64_t lm_tokens = 0;
    std::int64_t lm_pages = 0;  // of the row with most
    std::int64_t dropped = 0;
    std::int64_t encodes = 0;
    std::int64_t solves = 0;
    std::int64_t solve_repeats = 0;  // Euler steps in one go
    std::int64_t vocodes = 0;
    std::int64_t paused = 0;
    double wake = infinity;  // when the first of the paused goes on by itself
};

}  // namespace antiphon
