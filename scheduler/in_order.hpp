// Dialogues by due time, sorted no further than they are asked for.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace antiphon {

// One dialogue that waits. The order of commits, which no two share, decides between equal due times.
struct Waiting {
    double due;
    std::int64_t arrival;
    std::uint32_t place;  // among the dialogues

    bool operator<(const Waiting& other) const {
        return due != other.due ? due < other.due : arrival < other.arrival;
    }
};

// A plan mostly takes fewer than wait: those are selected in linear time, and only they are sorted.
class InOrder {
public:
    explicit InOrder(std::int64_t usually) : usually_(static_cast<std::size_t>(usually)) {}

    void clear() {
        waiting_.clear();
        sorted_ = 0;
    }

    void push(const Waiting& one) { waiting_.push_back(one); }

    std::size_t size() const { return waiting_.size(); }

    bool empty() const { return waiting_.empty(); }

    // The index-th in order.
    const Waiting& operator[](std::size_t index) {
        while (index >= sorted_) {
            sort_more();
        }
        return waiting_[index];
    }

private:
    void sort_more() {
        const auto begin = waiting_.begin() + static_cast<std::ptrdiff_t>(sorted_);
        if (sorted_ == 0 && usually_ < waiting_.size()) {
            const auto end = begin + static_cast<std::ptrdiff_t>(usually_);
            std::nth_element(begin, end, waiting_.end());
            std::sort(begin, end);
            sorted_ = usually_;
        } else {
            std::sort(begin, waiting_.end());
            sorted_ = waiting_.size();
        }
    }

    std::size_t usually_;  // at least 1
    std::size_t sorted_ = 0;
    std::vector<Waiting> waiting_;
};

}  // namespace antiphon
