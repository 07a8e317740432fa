// What a call may be given. Each check throws std::invalid_argument, which Python sees as a ValueError.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <limits>
#include <stdexcept>
#include <string>

#include "dialogue.hpp"

namespace antiphon {

constexpr std::int64_t most_slots = std::numeric_limits<std::int32_t>::max();

[[noreturn]] inline void refuse(const std::string& why) { throw std::invalid_argument(why); }

// As Python's format `g`.
inline std::string text_of(double value) {
    if (std::isnan(value)) {
        return "nan";
    }
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return text;
}

inline double checked_moment(double now) {
    if (!std::isfinite(now)) {
        refuse("the time is " + text_of(now) + "; expected finite seconds");
    }
    return now;
}

inline double checked_seconds(double seconds) {
    if (!(std::isfinite(seconds) && seconds >= 0)) {
        refuse(text_of(seconds) + " seconds of audio; expected a finite number of at least 0");
    }
    return seconds;
}

inline std::int64_t checked_count(std::int64_t n, const char* what) {
    if (n < 0 || n > most_slots) {
        refuse(std::to_string(n) + " " + what + "; expected 0 to " + std::to_string(most_slots));
    }
    return n;
}

inline std::int64_t checked_length(const Dialogue& dialogue, std::int64_t length) {
    if (length < 0 || length > dialogue.total) {
        refuse("cannot keep " + std::to_string(length) + " positions of dialogue " + std::to_string(dialogue.number) +
               "; it has " + std::to_string(dialogue.total));
    }
    return length;
}

inline Hearing checked_hearing(std::int64_t kind) {
    constexpr auto last = static_cast<std::int64_t>(Hearing::guess);
    if (kind < 0 || kind > last) {
        refuse("hearing is " + std::to_string(kind) + "; expected 0 to " + std::to_string(last));
    }
    return static_cast<Hearing>(kind);
}

inline void check_phase(const Dialogue& dialogue, const char* call, std::initializer_list<Phase> phases) {
    std::string expected;
    for (const Phase phase : phases) {
        if (dialogue.phase == phase) {
            return;
        }
        expected += (expected.empty() ? "" : " or ") + std::string(name_of(phase));
    }
    refuse("dialogue " + std::to_string(dialogue.number) + " is " + name_of(dialogue.phase) + "; to " + call +
           " it must be " + expected);
}

}  // namespace antiphon
