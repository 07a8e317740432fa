// Whose waiting audio the encoder takes next.
//
// The rules stand in reference/hearing.py.
#pragma once

#include <cstdint>
#include <vector>

#include "buffers.hpp"
#include "in_order.hpp"
#include "memory.hpp"
#include "within.hpp"

namespace antiphon {

// Plans and holds the dialogues of the encoder pass, in order.
class HearingPlanner {
public:
    HearingPlanner(Memory& memory, const Buffers& buffers)
        : memory_(memory), buffers_(buffers), queue_(memory.settings.max_encodes) {}

    const std::vector<Planned>& encodes() const { return encodes_; }

    void plan(const Costs& costs) {
        find_waiting();
        encodes_.clear();
        const Settings& settings = memory_.settings;
        Within budget(settings.encode_seconds, settings.max_encodes, settings.max_encode_frames);
        for (std::size_t index = 0; index < queue_.size() && !budget.full(); ++index) {
            const std::uint32_t place = queue_[index].place;
            Dialogue& dialogue = memory_.dialogues[place];
            const double cost = costs.encode_frame * static_cast<double>(dialogue.encode_frames);
            if (budget.take(cost, dialogue.encode_frames)) {
                dialogue.encode_planned = true;
                buffers_.encodes[encodes_.size()] = dialogue.number;
                encodes_.push_back({dialogue.number, place});
            }
        }
    }

private:
    // Queues all audio of the most urgent kind there is.
    void find_waiting() {
        queue_.clear();
        Hearing most_urgent = Hearing::guess;
        for (std::size_t place = 0; place < memory_.dialogues.size(); ++place) {
            Dialogue& dialogue = memory_.dialogues[place];
            dialogue.encode_planned = false;
            if (dialogue.encode_frames == 0 || dialogue.hearing > most_urgent) {
                continue;
            }
            if (dialogue.hearing < most_urgent) {
                most_urgent = dialogue.hearing;
                queue_.clear();
            }
            queue_.push({dialogue.encode_since, dialogue.number, static_cast<std::uint32_t>(place)});
        }
    }

    Memory& memory_;
    const Buffers buffers_;
    InOrder queue_;
    std::vector<Planned> encodes_;
};

}  // namespace antiphon
