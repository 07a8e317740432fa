// Where a plan is written: arrays that Python allocated. What each holds stands in buffers.py, which checks their shapes.
#pragma once

#include <cstdint>

namespace antiphon {

struct Buffers {
    std::int32_t* lm_dialogues;
    std::int32_t* lm_ends;
    std::int32_t* cu_seqlens;
    std::int32_t* context_lens;
    std::int32_t* block_tables;
    std::int32_t* positions;
    std::int32_t* slots;
    std::int32_t* dropped;
    std::int32_t* paused;
    std::int32_t* encodes;
    std::int32_t* solves;
    std::int32_t* solve_steps;
    std::int32_t* vocodes;
};

}  // namespace antiphon
