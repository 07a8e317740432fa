// The scheduler's calls: every dialogue's state, and plans made of it. What each call is for stands in _core.pyi.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "buffers.hpp"
#include "checks.hpp"
#include "memory.hpp"
#include "plan.hpp"
#include "plan_hearing.hpp"
#include "plan_lm.hpp"
#include "plan_speech.hpp"

namespace antiphon {

// Every call does all of what it was asked or throws and changes nothing. Calls of several threads take turns.
class Scheduler {
public:
    using Rows = std::optional<std::vector<std::int32_t>>;  // of a plan; none: all of them

    Scheduler(const Settings& settings, const Buffers& buffers)
        : memory_(settings), buffers_(buffers), lm_(memory_, buffers), speech_(memory_, buffers), hearing_(memory_, buffers) {}

    // Looking

    std::int64_t dialogues() {
        const std::lock_guard lock(mutex_);
        return count();
    }

    std::int64_t n_pages() const { return memory_.settings.n_pages; }

    std::int64_t free_pages() {
        const std::lock_guard lock(mutex_);
        return memory_.pool.free_pages();
    }

    std::int64_t pinned_pages() {
        const std::lock_guard lock(mutex_);
        return memory_.pinned();
    }

    std::pair<std::int64_t, std::int64_t> positions(std::int64_t number) {
        const std::lock_guard lock(mutex_);
        const Dialogue& dialogue = memory_.find(number);
        return {dialogue.computed, dialogue.total};
    }

    std::vector<std::int32_t> pages(std::int64_t number) {
        const std::lock_guard lock(mutex_);
        return memory_.find(number).pages;
    }

    std::int64_t room(std::int64_t number) {
        const std::lock_guard lock(mutex_);
        return memory_.most_positions(memory_.find(number)) - memory_.find(number).total;
    }

    std::tuple<double, double, double> playback(std::int64_t number, double now) {
        const std::lock_guard lock(mutex_);
        const Playback& playback = memory_.find(number).playback;
        checked_moment(now);
        return {playback.sent, playback.heard(now), playback.lead(now)};
    }

    void open(std::int64_t number, double now, std::optional<std::int64_t> prefix) {
        const std::lock_guard lock(mutex_);
        if (number < 0 || number > most_slots) {
            refuse("dialogue " + std::to_string(number) + " is no number of 0 to " + std::to_string(most_slots) +
                   " (int32)");
        }
        if (memory_.find_open(number) != nullptr) {
            refuse("dialogue " + std::to_string(number) + " is open already");
        }
        if (count() == memory_.settings.max_dialogues) {
            refuse(std::to_string(count()) + " dialogues are open, as many as max_dialogues allows");
        }
        if (prefix && memory_.users(*prefix) < 0) {
            refuse_unknown(*prefix);
        }
        memory_.open(static_cast<std::int32_t>(number), checked_moment(now), prefix ? &*prefix : nullptr);
    }

    void close(std::int64_t number) {
        const std::lock_guard lock(mutex_);
        memory_.close(number);
    }

    std::int64_t pin(std::int64_t prefix, std::int64_t number, std::int64_t positions) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        if (memory_.users(prefix) >= 0) {
            refuse("prefix " + std::to_string(prefix) + " is pinned already");
        }
        if (dialogue.has_prefix) {
            refuse("dialogue " + std::to_string(number) + " began with prefix " + std::to_string(dialogue.prefix) +
                   ": it cannot give another");
        }
        return memory_.pin(prefix, dialogue, checked_count(positions, "positions"));
    }

    void unpin(std::int64_t prefix) {
        const std::lock_guard lock(mutex_);
        const std::int64_t users = memory_.users(prefix);
        if (users < 0) {
            refuse_unknown(prefix);
        }
        if (users > 0) {
            refuse("prefix " + std::to_string(prefix) + " serves " + std::to_string(users) +
                   " open dialogues: close them first");
        }
        memory_.unpin(prefix);
    }

    // Ids

    void extend(std::int64_t number, std::int64_t n) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        check_room(dialogue, checked_count(n, "ids"));
        dialogue.total += n;
    }

    void extend_each(const std::int32_t* numbers, std::size_t n) {
        const std::lock_guard lock(mutex_);
        extending_.clear();
        for (std::size_t i = 0; i < n; ++i) {
            extending_.push_back(&memory_.find(numbers[i]));
        }
        std::size_t twice = 0;
        for (Dialogue* dialogue : extending_) {
            twice += dialogue->marked;
            dialogue->marked = true;
        }
        for (Dialogue* dialogue : extending_) {
            dialogue->marked = false;
        }
        if (twice > 0) {
            refuse(std::to_string(n) + " dialogues to extend, " + std::to_string(twice) + " of them twice");
        }
        for (const Dialogue* dialogue : extending_) {
            check_room(*dialogue, 1);
        }
        for (Dialogue* dialogue : extending_) {
            ++dialogue->total;
        }
    }

    void truncate(std::int64_t number, std::int64_t length) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        memory_.truncate(dialogue, checked_length(dialogue, length));
    }

    void drop(std::int64_t number) {
        const std::lock_guard lock(mutex_);
        memory_.drop(memory_.find(number));
    }

    // Turns

    void listen(std::int64_t number, double now) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        check_phase(dialogue, "listen", {Phase::idle, Phase::listening});
        checked_moment(now);
        if (dialogue.phase == Phase::idle) {
            dialogue.phase = Phase::listening;
            dialogue.since = dialogue.touched = now;
            dialogue.past = dialogue.total;
        }
    }

    void encode(std::int64_t number, std::int64_t hearing, std::int64_t frames, double since) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        const Hearing kind = checked_hearing(hearing);
        checked_count(frames, "frames");
        dialogue.encode_since = checked_moment(since);
        dialogue.encode_frames = frames;
        dialogue.hearing = kind;
        dialogue.encode_planned = false;
    }

    void commit(std::int64_t number, double committed) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        check_phase(dialogue, "commit", {Phase::idle, Phase::listening});
        dialogue.committed = dialogue.touched = checked_moment(committed);
        dialogue.arrival = ++arrivals_;
        dialogue.phase = Phase::answering;
        dialogue.playback = Playback();
    }

    void chunk(std::int64_t number, std::int64_t solve_frames, std::int64_t wave_frames) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        check_phase(dialogue, "make a chunk", {Phase::answering, Phase::ending});
        if (dialogue.has_chunk) {
            refuse("dialogue " + std::to_string(number) + " has a chunk under way: one at a time");
        }
        Chunk made;
        made.solve_frames = checked_count(solve_frames, "frames");
        made.wave_frames = checked_count(wave_frames, "frames");
        made.steps = solve_frames == 0 ? memory_.settings.solve_steps : 0;
        dialogue.chunk = made;
        dialogue.has_chunk = true;
    }

    void end(std::int64_t number) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        check_phase(dialogue, "end", {Phase::answering});
        dialogue.phase = Phase::ending;
    }

    void finish(std::int64_t number, double now) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        dialogue.touched = checked_moment(now);
        dialogue.phase = Phase::idle;
        dialogue.has_chunk = false;
    }

    void cancel(std::int64_t number, std::int64_t length, double now) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        checked_length(dialogue, length);
        dialogue.touched = checked_moment(now);
        dialogue.phase = Phase::idle;
        dialogue.has_chunk = false;
        memory_.truncate(dialogue, length);
    }

    // Playback

    double sent(std::int64_t number, double seconds, double now) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        checked_seconds(seconds);
        checked_moment(now);
        dialogue.unread += seconds;
        return dialogue.playback.send(seconds, now);
    }

    void heard(std::int64_t number, double seconds, double now) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        if (!dialogue.playback.started) {
            refuse("dialogue " + std::to_string(number) + " was sent nothing that could be heard");
        }
        checked_seconds(seconds);
        dialogue.playback.report(seconds, checked_moment(now), memory_.settings.heard_slack_seconds);
    }

    void read(std::int64_t number, double seconds) {
        const std::lock_guard lock(mutex_);
        Dialogue& dialogue = memory_.find(number);
        dialogue.unread = std::max(dialogue.unread - checked_seconds(seconds), 0.0);
    }

    // Planning

    void set_costs(const Costs& costs) {
        const std::lock_guard lock(mutex_);
        costs_ = costs;
    }

    Plan plan(double now, bool lm, bool speech, bool hear) {
        const std::lock_guard lock(mutex_);
        checked_moment(now);
        Plan plan;
        if (lm) {
            lm_.plan(now, costs_);
            plan.lm_rows = static_cast<std::int64_t>(lm_.rows().size());
            plan.lm_tokens = lm_.tokens();
            plan.lm_pages = lm_.pages();
            plan.dropped = lm_.dropped();
        }
        if (speech) {
            plan.solve_repeats = speech_.plan_solves(now, costs_);
            plan.solves = static_cast<std::int64_t>(speech_.solves().size());
            speech_.plan_vocodes(now, costs_);
            plan.vocodes = static_cast<std::int64_t>(speech_.vocodes().size());
        }
        if (hear) {
            hearing_.plan(costs_);
            plan.encodes = static_cast<std::int64_t>(hearing_.encodes().size());
        }
        find_paused(now, plan);
        return plan;
    }

    // What has been done of the plan

    void lm_done(const Rows& rows) {
        for_done(lm_.rows(), rows, [](Dialogue& dialogue) {
            dialogue.computed += dialogue.planned;
            dialogue.planned = 0;
        });
    }

    void solves_done(const Rows& rows) {
        for_done(speech_.solves(), rows, [](Dialogue& dialogue) {
            if (dialogue.has_chunk) {
                dialogue.chunk.steps += dialogue.chunk.planned;
                dialogue.chunk.planned = 0;
            }
        });
    }

    void vocodes_done(const Rows& rows) {
        for_done(speech_.vocodes(), rows, [](Dialogue& dialogue) {
            if (dialogue.has_chunk && dialogue.chunk.vocoding) {
                dialogue.has_chunk = false;
            }
        });
    }

    void encodes_done(const Rows& rows) {
        for_done(hearing_.encodes(), rows, [](Dialogue& dialogue) {
            if (dialogue.encode_planned) {
                dialogue.encode_frames = 0;
                dialogue.encode_planned = false;
            }
        });
    }

private:
    std::int64_t count() const { return static_cast<std::int64_t>(memory_.dialogues.size()); }

    [[noreturn]] void refuse_unknown(std::int64_t prefix) const {
        refuse("prefix " + std::to_string(prefix) + " is not pinned (" + std::to_string(memory_.prefixes()) + " are)");
    }

    void check_room(const Dialogue& dialogue, std::int64_t n) const {
        if (dialogue.total + n > memory_.most_positions(dialogue)) {
            refuse("dialogue " + std::to_string(dialogue.number) + " cannot have " +
                   std::to_string(dialogue.total + n) + " positions; expected at most " +
                   std::to_string(memory_.most_positions(dialogue)) + ", the " +
                   std::to_string(memory_.most_pages(dialogue)) + " pages that it may hold");
        }
    }

    // Who has work and waits with it, and the moment at which the first of them goes on by itself.
    void find_paused(double now, Plan& plan) {
        const Settings& settings = memory_.settings;
        for (const Dialogue& dialogue : memory_.dialogues) {
            const bool lm = dialogue.wants_lm() && dialogue.lm_paused(now, settings);
            const bool chunk =
                dialogue.has_chunk && dialogue.chunk.steps == 0 && dialogue.chunk_paused(now, settings);
            if (!lm && !chunk) {
                continue;
            }
            buffers_.paused[plan.paused++] = dialogue.number;
            if (!dialogue.has_backlog(settings)) {
                plan.wake = std::min(plan.wake, lm ? dialogue.lm_wakes(settings) : infinity);
                plan.wake = std::min(plan.wake, chunk ? dialogue.chunk_wakes(settings) : infinity);
            }
        }
    }

    // Calls `apply` for the rows of a plan that are meant, without those that were closed since.
    template <typename Apply>
    void for_done(const std::vector<Planned>& planned, const Rows& rows, const Apply& apply) {
        const std::lock_guard lock(mutex_);
        if (rows) {
            for (const std::int32_t row : *rows) {
                if (row < 0 || row >= static_cast<std::int64_t>(planned.size())) {
                    refuse("row " + std::to_string(row) + " is not one of the plan's " +
                           std::to_string(planned.size()) + " rows");
                }
            }
        }
        const std::size_t n = rows ? rows->size() : planned.size();
        for (std::size_t i = 0; i < n; ++i) {
            const std::size_t row = rows ? static_cast<std::size_t>((*rows)[i]) : i;
            if (Dialogue* dialogue = memory_.find_planned(planned[row])) {
                apply(*dialogue);
            }
        }
    }

    Memory memory_;
    const Buffers buffers_;
    Costs costs_;
    LMPlanner lm_;
    SpeechPlanner speech_;
    HearingPlanner hearing_;
    std::vector<Dialogue*> extending_;
    std::int64_t arrivals_ = 0;
    std::mutex mutex_;  // a plan lets go of Python's lock
};

}  // namespace antiphon
