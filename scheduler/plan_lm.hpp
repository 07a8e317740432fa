// Which positions the next LM forward computes, and whose KV gives way when pages run out.
//
// The rules stand in reference/lm.py. One plan takes time linear in the dialogues, the rows it chooses apart, which are
// sorted; who gives way is ordered only once pages are short.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <tuple>
#include <vector>

#include "buffers.hpp"
#include "in_order.hpp"
#include "memory.hpp"

namespace antiphon {

// What is left of one forward.
struct LMBudget {
    std::int64_t rows;
    std::int64_t tokens;
    std::int64_t decodes;
    std::int64_t prefill_tokens;

    LMBudget(const Settings& settings, const Costs& costs, std::int64_t decoding)
        : rows(settings.max_rows), tokens(settings.max_tokens) {
        const std::int64_t in_time = affordable(settings.lm_seconds, costs.lm_row, settings.max_rows);
        decodes = std::min(decoding, std::max<std::int64_t>(1, in_time));
        const double seconds = settings.lm_seconds - costs.lm_row * static_cast<double>(decodes);
        const std::int64_t prefill = std::min(settings.max_tokens - decodes,
                                              affordable(seconds, costs.prefill_token, settings.max_tokens));
        prefill_tokens = std::max(std::min(settings.page_size, settings.max_tokens), prefill);
    }

    // Positions that the dialogue may compute.
    std::int64_t tokens_for(const Dialogue& dialogue) const {
        if (rows == 0) {
            return 0;
        }
        if (dialogue.is_decoding()) {
            return std::min({decodes, tokens, std::int64_t{1}});
        }
        const std::int64_t wanted = dialogue.wants_lm() ? dialogue.uncomputed() : dialogue.ahead();
        return std::min({wanted, prefill_tokens, tokens});
    }

    void take(const Dialogue& dialogue, std::int64_t n_tokens) {
        --rows;
        tokens -= n_tokens;
        if (dialogue.is_decoding()) {
            --decodes;
        } else {
            prefill_tokens -= n_tokens;
        }
    }
};

// Plans and holds the plan's rows. Its lists are kept between plans, so that a plan allocates nothing but pages.
class LMPlanner {
public:
    LMPlanner(Memory& memory, const Buffers& buffers)
        : memory_(memory), buffers_(buffers), decoding_(memory.settings.max_rows),
          prefilling_(memory.settings.max_rows), ahead_(memory.settings.max_rows) {}

    // The dialogues whose rows the latest plan computes, in order.
    const std::vector<Planned>& rows() const { return rows_; }

    std::int64_t tokens() const { return tokens_; }

    // Of the row with most pages.
    std::int64_t pages() const { return most_pages_; }

    std::int64_t dropped() const { return dropped_; }

    void plan(double now, const Costs& costs) {
        begin(now);
        LMBudget budget(memory_.settings, costs, static_cast<std::int64_t>(decoding_.size()));
        const bool decode_first =
            prefilling_.empty() || (!decoding_.empty() && decoding_[0] < prefilling_[0]);
        if (!decode_first) {
            place(prefilling_[0], budget, true);
        }
        place_all(decoding_, 0, budget, true);
        place_all(prefilling_, decode_first ? 0 : 1, budget, true);
        place_all(ahead_, 0, budget, false);
    }

private:
    // What may be lost, the least first.
    enum class Kind : std::uint8_t { computed_ahead, idle, listening, answering };  // the last without waiting for the LM

    // One dialogue that may lose its KV; the least goes first.
    struct Victim {
        Kind kind;
        double order;
        std::int64_t tie;
        std::uint32_t place;

        bool operator>(const Victim& other) const {
            return std::tie(kind, order, tie) > std::tie(other.kind, other.order, other.tie);
        }
    };

    void begin(double now) {
        now_ = now;
        rows_.clear();
        tokens_ = most_pages_ = dropped_ = 0;
        decoding_.clear();
        prefilling_.clear();
        ahead_.clear();
        victims_.clear();
        victims_known_ = tails_known_ = false;
        buffers_.cu_seqlens[0] = 0;
        for (std::size_t place = 0; place < memory_.dialogues.size(); ++place) {
            Dialogue& dialogue = memory_.dialogues[place];
            dialogue.planned = 0;
            dialogue.dropped = false;
            if (waits(dialogue)) {
                InOrder& queue = dialogue.is_decoding() ? decoding_ : prefilling_;
                queue.push({dialogue.lm_due(memory_.settings, now_), dialogue.arrival, static_cast<std::uint32_t>(place)});
            } else if (dialogue.ahead() > 0) {
                ahead_.push({dialogue.since, dialogue.number, static_cast<std::uint32_t>(place)});
            }
        }
    }

    bool waits(const Dialogue& dialogue) const {
        return dialogue.wants_lm() && !dialogue.lm_paused(now_, memory_.settings);
    }

    void place_all(InOrder& queue, std::size_t from, LMBudget& budget, bool may_drop) {
        // What the budget has nothing left for in one, it has not for the next of its kind.
        for (std::size_t index = from; index < queue.size(); ++index) {
            const Dialogue& dialogue = memory_.dialogues[queue[index].place];
            if (!dialogue.dropped && budget.tokens_for(dialogue) == 0) {
                return;
            }
            place(queue[index], budget, may_drop);
        }
    }

    void place(const Waiting waiting, LMBudget& budget, bool may_drop) {
        Dialogue& dialogue = memory_.dialogues[waiting.place];
        std::int64_t n_tokens = budget.tokens_for(dialogue);
        if (dialogue.dropped || n_tokens == 0) {
            return;
        }
        const std::int64_t needed = memory_.missing(dialogue, dialogue.computed + n_tokens);
        while (may_drop && needed > memory_.pool.free_pages() && drop_for(waiting)) {
        }
        const std::int64_t pages = static_cast<std::int64_t>(dialogue.pages.size()) + memory_.pool.free_pages();
        n_tokens = std::min(n_tokens, pages * memory_.settings.page_size - dialogue.computed);
        if (n_tokens == 0) {
            return;
        }
        budget.take(dialogue, n_tokens);
        memory_.reserve(dialogue, dialogue.computed + n_tokens);
        dialogue.planned = n_tokens;
        dialogue.touched = now_;
        write(dialogue, waiting.place);
    }

    // Takes the KV of whoever is least expected to need it; false where nobody is left who may lose it.
    bool drop_for(const Waiting& waiting) {
        if (!victims_known_) {
            find_victims();
        }
        std::uint32_t place = 0;
        if (!victims_.empty()) {
            std::pop_heap(victims_.begin(), victims_.end(), std::greater<>{});
            place = victims_.back().place;
            victims_.pop_back();
        } else {
            const Waiting* last = last_waiting();
            if (last == nullptr || !(waiting < *last)) {
                return false;
            }
            place = last->place;
        }
        give_up(memory_.dialogues[place]);
        return true;
    }

    void give_up(Dialogue& victim) {
        if (memory_.ahead_pages(victim) > 0) {
            memory_.trim(victim);
        } else {
            memory_.drop(victim);
        }
        if (!victim.dropped) {
            victim.dropped = true;
            buffers_.dropped[dropped_++] = victim.number;
        }
    }

    void find_victims() {
        victims_known_ = true;
        const Settings& settings = memory_.settings;
        for (std::size_t at = 0; at < memory_.dialogues.size(); ++at) {
            const Dialogue& dialogue = memory_.dialogues[at];
            if (dialogue.own_pages() == 0 || waits(dialogue) || dialogue.planned > 0) {
                continue;
            }
            const auto place = static_cast<std::uint32_t>(at);
            if (dialogue.phase == Phase::answering) {
                victims_.push_back({Kind::answering, -dialogue.lm_due(settings, now_), -dialogue.arrival, place});
            } else {
                const Kind kind = dialogue.phase == Phase::listening ? Kind::listening : Kind::idle;
                victims_.push_back({kind, dialogue.touched, dialogue.number, place});
            }
            if (memory_.ahead_pages(dialogue) > 0) {
                victims_.push_back({Kind::computed_ahead, dialogue.touched, dialogue.number, place});
            }
        }
        std::make_heap(victims_.begin(), victims_.end(), std::greater<>{});
    }

    // Of those that wait for the LM, have pages of their own and no row yet, the last in order.
    const Waiting* last_waiting() {
        if (!tails_known_) {
            tails_known_ = true;
            decoding_tail_ = decoding_.size();
            prefilling_tail_ = prefilling_.size();
        }
        const Waiting* decoding = tail(decoding_, decoding_tail_);
        const Waiting* prefilling = tail(prefilling_, prefilling_tail_);
        if (decoding == nullptr || prefilling == nullptr) {
            return decoding == nullptr ? prefilling : decoding;
        }
        return *decoding < *prefilling ? prefilling : decoding;
    }

    const Waiting* tail(InOrder& queue, std::size_t& end) {
        for (; end > 0; --end) {
            const Dialogue& dialogue = memory_.dialogues[queue[end - 1].place];
            if (dialogue.planned == 0 && dialogue.own_pages() > 0) {
                return &queue[end - 1];
            }
        }
        return nullptr;
    }

    // What the forward needs to know of the row, into the buffers.
    void write(const Dialogue& dialogue, std::uint32_t place) {
        const Settings& settings = memory_.settings;
        const std::int64_t end = dialogue.computed + dialogue.planned;
        const std::int64_t pages = settings.pages_for(end);
        const std::size_t row = rows_.size();
        buffers_.lm_dialogues[row] = dialogue.number;
        buffers_.lm_ends[row] = dialogue.phase == Phase::answering && end == dialogue.total;
        buffers_.context_lens[row] = static_cast<std::int32_t>(end);
        std::memcpy(buffers_.block_tables + row * static_cast<std::size_t>(settings.max_row_pages),
                    dialogue.pages.data(), static_cast<std::size_t>(pages) * sizeof(std::int32_t));
        std::int64_t position = dialogue.computed;
        while (position < end) {
            const std::int64_t page = position / settings.page_size;
            const std::int64_t page_end = std::min(end, (page + 1) * settings.page_size);
            std::int64_t slot = dialogue.pages[static_cast<std::size_t>(page)] * settings.page_size +
                                position % settings.page_size;
            for (; position < page_end; ++position, ++slot, ++tokens_) {
                buffers_.positions[tokens_] = static_cast<std::int32_t>(position);
                buffers_.slots[tokens_] = static_cast<std::int32_t>(slot);
            }
        }
        buffers_.cu_seqlens[row + 1] = static_cast<std::int32_t>(tokens_);
        most_pages_ = std::max(most_pages_, pages);
        rows_.push_back({dialogue.number, place});
    }

    Memory& memory_;
    const Buffers buffers_;
    InOrder decoding_;    // who waits with one id to compute,
    InOrder prefilling_;  // with more,
    InOrder ahead_;       // and who listens
    std::vector<Victim> victims_;  // a heap, the least on top
    std::vector<Planned> rows_;
    double now_ = 0;
    std::int64_t tokens_ = 0;
    std::int64_t most_pages_ = 0;
    std::int64_t dropped_ = 0;
    std::size_t decoding_tail_ = 0;
    std::size_t prefilling_tail_ = 0;
    bool victims_known_ = false;
    bool tails_known_ = false;
};

}  // namespace antiphon
