// Every dialogue's pages: who holds which, which are shared as a prefix, and what is given up.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "dialogue.hpp"
#include "page_pool.hpp"
#include "settings.hpp"

namespace antiphon {

// A dialogue in a plan: who it is, and where it was among the dialogues then.
struct Planned {
    std::int32_t number;
    std::uint32_t place;
};

// The pool and the dialogues. A page past a dialogue's `shared` ones has one holder.
class Memory {
public:
    explicit Memory(const Settings& given) : settings(given), pool(given.n_pages) {}

    const Settings settings;
    PagePool pool;
    std::vector<Dialogue> dialogues;  // one that closes leaves its place to the last

    // The open dialogue of this number. Throws std::invalid_argument where there is none.
    Dialogue& find(std::int64_t number) {
        const auto found = index_.find(number);
        if (found == index_.end()) {
            throw std::invalid_argument("dialogue " + std::to_string(number) + " is not open (" +
                                        std::to_string(dialogues.size()) + " are)");
        }
        return dialogues[found->second];
    }

    // The planned dialogue, if it is still open. Mostly it still has its place, which spares the search.
    Dialogue* find_planned(const Planned& planned) {
        if (planned.place < dialogues.size() && dialogues[planned.place].number == planned.number) {
            return &dialogues[planned.place];
        }
        return find_open(planned.number);
    }

    Dialogue* find_open(std::int64_t number) {
        const auto found = index_.find(number);
        return found == index_.end() ? nullptr : &dialogues[found->second];
    }

    std::int64_t pinned() const { return pinned_; }

    std::size_t prefixes() const { return prefixes_.size(); }

    // How many open dialogues began with a prefix; -1 where it is not pinned.
    std::int64_t users(std::int64_t prefix) const {
        const auto found = prefixes_.find(prefix);
        return found == prefixes_.end() ? -1 : found->second.dialogues;
    }

    // Pages the dialogue could hold if every other gave up its own.
    std::int64_t most_pages(const Dialogue& dialogue) const {
        return std::min(settings.n_pages - pinned_ + dialogue.shared, settings.max_row_pages);
    }

    std::int64_t most_positions(const Dialogue& dialogue) const { return most_pages(dialogue) * settings.page_size; }

    // Pages that are missing for so many positions in all.
    std::int64_t missing(const Dialogue& dialogue, std::int64_t positions) const {
        return std::max<std::int64_t>(
            0, settings.pages_for(positions) - static_cast<std::int64_t>(dialogue.pages.size()));
    }

    void reserve(Dialogue& dialogue, std::int64_t positions) {
        const std::int64_t count = missing(dialogue, positions);
        if (count > 0) {
            const std::vector<std::int32_t> more = pool.allocate(count);
            dialogue.pages.insert(dialogue.pages.end(), more.begin(), more.end());
        }
    }

    // Gives up the dialogue's own pages; what lies in shared ones stays computed.
    void drop(Dialogue& dialogue) {
        dialogue.planned = 0;
        dialogue.computed = std::min(dialogue.computed, dialogue.shared * settings.page_size);
        keep(dialogue, dialogue.shared);
    }

    // Pages that hold only what was computed ahead of a commit.
    std::int64_t ahead_pages(const Dialogue& dialogue) const {
        const std::int64_t past = std::max(settings.pages_for(dialogue.past), dialogue.shared);
        const std::int64_t held = static_cast<std::int64_t>(dialogue.pages.size());
        return dialogue.phase == Phase::listening ? std::max<std::int64_t>(0, held - past) : 0;
    }

    // Gives up what a listening dialogue has computed ahead.
    void trim(Dialogue& dialogue) {
        dialogue.planned = 0;
        const std::int64_t shared = dialogue.shared * settings.page_size;
        dialogue.computed = std::min(dialogue.computed, std::max(dialogue.past, shared));
        keep(dialogue, settings.pages_for(dialogue.computed));
    }

    // Keeps the first `length` positions. A shared page is never written: one that is cut is let go.
    void truncate(Dialogue& dialogue, std::int64_t length) {
        dialogue.total = length;
        dialogue.past = std::min(dialogue.past, length);
        dialogue.planned = std::min(dialogue.planned, std::max<std::int64_t>(0, length - dialogue.computed));
        dialogue.computed = std::min(dialogue.computed, length);
        if (length < dialogue.shared * settings.page_size) {
            dialogue.shared = length / settings.page_size;
            dialogue.computed = dialogue.shared * settings.page_size;
        }
        keep(dialogue, settings.pages_for(dialogue.computed + dialogue.planned));
    }

    // A new dialogue. `prefix`, if any, must be pinned.
    void open(std::int32_t number, double now, const std::int64_t* prefix) {
        Dialogue dialogue;
        dialogue.number = number;
        dialogue.touched = now;
        if (prefix != nullptr) {
            Prefix& known = prefixes_.at(*prefix);
            pool.retain(widened(known.pages, 0));
            ++known.dialogues;
            dialogue.has_prefix = true;
            dialogue.prefix = *prefix;
            dialogue.pages = known.pages;
            dialogue.shared = static_cast<std::int64_t>(known.pages.size());
            dialogue.computed = dialogue.total = dialogue.shared * settings.page_size;
        }
        index_.emplace(number, dialogues.size());
        dialogues.push_back(std::move(dialogue));
    }

    void close(std::int64_t number) {
        Dialogue& dialogue = find(number);
        keep(dialogue, 0);
        if (dialogue.has_prefix) {
            --prefixes_.at(dialogue.prefix).dialogues;
        }
        const std::size_t place = index_.at(number);
        index_.erase(number);
        if (place + 1 < dialogues.size()) {
            dialogues[place] = std::move(dialogues.back());
            index_[dialogues[place].number] = place;
        }
        dialogues.pop_back();
    }

    // Shares the full pages of the first `positions` computed ones; returns how many positions that are. 0, and nothing
    // changes, where there is no full page, or where some open dialogue would no longer fit.
    std::int64_t pin(std::int64_t prefix, Dialogue& dialogue, std::int64_t positions) {
        const std::int64_t count = std::min(positions, dialogue.computed) / settings.page_size;
        const std::int64_t left = settings.n_pages - pinned_ - count;
        if (count == 0 || left < 1) {
            return 0;
        }
        for (const Dialogue& other : dialogues) {
            const std::int64_t own = &other == &dialogue ? count : other.shared;
            if (settings.pages_for(other.total) > left + own) {
                return 0;
            }
        }
        Prefix made{std::vector<std::int32_t>(dialogue.pages.begin(), dialogue.pages.begin() + count), 1};
        pool.retain(widened(made.pages, 0));
        prefixes_.emplace(prefix, std::move(made));
        pinned_ += count;
        dialogue.has_prefix = true;
        dialogue.prefix = prefix;
        dialogue.shared = count;
        return count * settings.page_size;
    }

    // Lets a pinned prefix go that no open dialogue began with.
    void unpin(std::int64_t prefix) {
        const std::vector<std::int32_t>& pages = prefixes_.at(prefix).pages;
        pool.release(widened(pages, 0));
        pinned_ -= static_cast<std::int64_t>(pages.size());
        prefixes_.erase(prefix);
    }

private:
    // Full pages of positions that many dialogues begin with. The pin itself holds a reference to each.
    struct Prefix {
        std::vector<std::int32_t> pages;
        std::int64_t dialogues;  // open ones that began with it
    };

    static std::vector<std::int64_t> widened(const std::vector<std::int32_t>& pages, std::int64_t from) {
        return std::vector<std::int64_t>(pages.begin() + from, pages.end());
    }

    void keep(Dialogue& dialogue, std::int64_t count) {
        if (count < static_cast<std::int64_t>(dialogue.pages.size())) {
            pool.release(widened(dialogue.pages, count));
            dialogue.pages.resize(static_cast<std::size_t>(count));
        }
    }

    std::unordered_map<std::int64_t, std::size_t> index_;  // number -> place in `dialogues`
    std::unordered_map<std::int64_t, Prefix> prefixes_;
    std::int64_t pinned_ = 0;  // pages of all prefixes
};

}  // namespace antiphon
