// Which chunks start and which running solves advance, and what the vocoder takes next.
//
// The rules stand in reference/speech.py.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "buffers.hpp"
#include "in_order.hpp"
#include "memory.hpp"
#include "within.hpp"

namespace antiphon {

// Plans and holds the rows of each kind, in order.
class SpeechPlanner {
public:
    SpeechPlanner(Memory& memory, const Buffers& buffers)
        : memory_(memory), buffers_(buffers), queue_(memory.settings.max_solves) {}

    const std::vector<Planned>& solves() const { return solves_; }

    const std::vector<Planned>& vocodes() const { return vocodes_; }

    // Chooses the rows of the next Euler steps; returns how many steps they do in one go.
    std::int64_t plan_solves(double now, const Costs& costs) {
        const Settings& settings = memory_.settings;
        solves_.clear();
        queue_.clear();
        bool first_chunk_waits = false;
        bool any_is_long = false;
        for (std::size_t place = 0; place < memory_.dialogues.size(); ++place) {
            Dialogue& dialogue = memory_.dialogues[place];
            if (!dialogue.has_chunk) {
                continue;
            }
            dialogue.chunk.planned = 0;
            const bool paused = dialogue.chunk.steps == 0 && dialogue.chunk_paused(now, settings);
            if (dialogue.chunk.steps < settings.solve_steps && !paused) {
                push(place, now);
                first_chunk_waits |= !dialogue.playback.started;
                any_is_long |= is_long(dialogue, costs);
            }
        }
        Within budget(settings.solve_seconds, settings.max_solves, settings.max_solve_frames);
        std::int64_t left = std::min(settings.solve_steps, settings.max_repeats);
        for (std::size_t index = 0; index < queue_.size() && !budget.full(); ++index) {
            const std::uint32_t place = queue_[index].place;
            const Dialogue& dialogue = memory_.dialogues[place];
            if (!passed_over(dialogue, costs, first_chunk_waits) && budget.take(dialogue.step_cost(costs), dialogue.chunk.solve_frames)) {
                buffers_.solves[solves_.size()] = dialogue.number;
                buffers_.solve_steps[solves_.size()] = static_cast<std::int32_t>(dialogue.chunk.steps);
                solves_.push_back({dialogue.number, place});
                left = std::min(left, settings.solve_steps - dialogue.chunk.steps);
            }
        }
        if (solves_.empty()) {
            return 0;
        }
        const std::int64_t repeats =
            std::max<std::int64_t>(1, affordable(settings.solve_seconds, budget.total(), left));
        for (const Planned& row : solves_) {
            memory_.dialogues[row.place].chunk.planned = repeats;
            memory_.dialogues[row.place].chunk.passed = 0;
        }
        if (first_chunk_waits && any_is_long) {
            for (std::size_t index = 0; index < queue_.size(); ++index) {
                Dialogue& dialogue = memory_.dialogues[queue_[index].place];
                if (dialogue.chunk.planned == 0 && passed_over(dialogue, costs, first_chunk_waits)) {
                    dialogue.chunk.passed += budget.total() * static_cast<double>(repeats);
                }
            }
        }
        return repeats;
    }

    // Chooses whose solved chunk becomes audio now.
    void plan_vocodes(double now, const Costs& costs) {
        const Settings& settings = memory_.settings;
        vocodes_.clear();
        queue_.clear();
        for (std::size_t place = 0; place < memory_.dialogues.size(); ++place) {
            Dialogue& dialogue = memory_.dialogues[place];
            if (dialogue.has_chunk) {
                dialogue.chunk.vocoding = false;
                if (dialogue.chunk.steps == settings.solve_steps) {
                    push(place, now);
                }
            }
        }
        Within budget(settings.vocode_seconds, settings.max_solves, unbounded);
        for (std::size_t index = 0; index < queue_.size() && !budget.full(); ++index) {
            Dialogue& dialogue = memory_.dialogues[queue_[index].place];
            if (budget.take(costs.vocode_frame * static_cast<double>(dialogue.chunk.wave_frames), 0)) {
                dialogue.chunk.vocoding = true;
                buffers_.vocodes[vocodes_.size()] = dialogue.number;
                vocodes_.push_back({dialogue.number, queue_[index].place});
            }
        }
    }

private:
    void push(std::size_t place, double now) {
        const Dialogue& dialogue = memory_.dialogues[place];
        queue_.push({dialogue.due(memory_.settings, now), dialogue.arrival, static_cast<std::uint32_t>(place)});
    }

    bool is_long(const Dialogue& dialogue, const Costs& costs) const {
        return dialogue.playback.started && dialogue.step_cost(costs) > memory_.settings.solve_seconds;
    }

    bool passed_over(const Dialogue& dialogue, const Costs& costs, bool first_chunk_waits) const {
        return first_chunk_waits && is_long(dialogue, costs) && dialogue.chunk.passed < dialogue.step_cost(costs);
    }

    Memory& memory_;
    const Buffers buffers_;
    InOrder queue_;
    std::vector<Planned> solves_;
    std::vector<Planned> vocodes_;
};

}  // namespace antiphon
