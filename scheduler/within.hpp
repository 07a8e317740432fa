// A budget that rows are taken from in order.
#pragma once

#include <cstdint>
#include <limits>

namespace antiphon {

constexpr std::int64_t unbounded = std::numeric_limits<std::int64_t>::max();  // frames

// Of candidates in order, the first, and of the others those that still fit.
class Within {
public:
    Within(double seconds, std::int64_t most, std::int64_t frames) : seconds_(seconds), most_(most), frames_(frames) {}

    bool full() const { return chosen_ >= most_; }

    double total() const { return total_; }

    bool take(double cost, std::int64_t frames) {
        if (full() || (chosen_ > 0 && !(total_ + cost <= seconds_ && frames <= frames_))) {
            return false;
        }
        total_ += cost;
        frames_ -= frames;
        ++chosen_;
        return true;
    }

private:
    double seconds_;
    std::int64_t most_;
    std::int64_t frames_;  // that are left
    std::int64_t chosen_ = 0;
    double total_ = 0;
};

}  // namespace antiphon
