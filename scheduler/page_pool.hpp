// Pages of a KV cache: who holds which, and which are free. Plain C++, no Python in here.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

namespace antiphon {

// More pages were asked for than are free.
struct OutOfPages : std::runtime_error {
    OutOfPages(std::int64_t asked_pages, std::int64_t free_pages, std::int64_t total_pages)
        : std::runtime_error("out of pages"), asked(asked_pages), free(free_pages), total(total_pages) {}
    std::int64_t asked;
    std::int64_t free;
    std::int64_t total;
};

// A fixed number of pages, 0 to n_pages - 1, each with a count of references. A page without references is free.
//
// - An allocation takes the lowest-numbered free pages, so it depends on the set of free pages and on nothing else.
// - Every call does all of what it was asked or throws and changes nothing. A page named twice in one call counts twice.
// - Invariant: `free_` is a min-heap of exactly the pages whose count in `references_` is zero.
// - Not synchronised. The Python binding never lets go of the interpreter's lock, so one call ends before the next.
class PagePool {
public:
    // Throws std::invalid_argument unless 1 <= n_pages <= the largest int32: block tables hold page numbers as i32.
    explicit PagePool(std::int64_t n_pages) {
        constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();
        if (n_pages < 1 || n_pages > most) {
            throw std::invalid_argument("a pool holds 1 to " + std::to_string(most) + " pages, not " +
                                        std::to_string(n_pages));
        }
        references_.assign(static_cast<std::size_t>(n_pages), 0);
        free_.resize(static_cast<std::size_t>(n_pages));
        std::iota(free_.begin(), free_.end(), 0);  // ascending, hence already a min-heap
    }

    std::int64_t n_pages() const { return static_cast<std::int64_t>(references_.size()); }

    std::int64_t free_pages() const { return static_cast<std::int64_t>(free_.size()); }

    // How many references a page has; 0 when it is free. Throws std::invalid_argument for an unknown page.
    std::int64_t references(std::int64_t page) const { return references_[index(page)]; }

    // Takes `count` free pages, ascending, with one reference each. Throws OutOfPages, or std::invalid_argument
    // for a negative count.
    std::vector<std::int32_t> allocate(std::int64_t count) {
        if (count < 0) {
            throw std::invalid_argument("cannot allocate " + std::to_string(count) + " pages");
        }
        if (count > free_pages()) {
            throw OutOfPages(count, free_pages(), n_pages());
        }
        std::vector<std::int32_t> pages;
        pages.reserve(static_cast<std::size_t>(count));
        for (std::int64_t i = 0; i < count; ++i) {
            std::pop_heap(free_.begin(), free_.end(), std::greater<>{});
            pages.push_back(free_.back());
            free_.pop_back();
            references_[static_cast<std::size_t>(pages.back())] = 1;
        }
        return pages;
    }

    // Adds a reference to each page. Throws std::invalid_argument when one is unknown or free.
    void retain(const std::vector<std::int64_t>& pages) {
        for (const std::int64_t page : pages) {
            if (references_[index(page)] == 0) {
                throw std::invalid_argument("page " + std::to_string(page) + " of " + std::to_string(n_pages()) +
                                            " is free (0 references): allocate it, it cannot be retained");
            }
        }
        for (const std::int64_t page : pages) {
            ++references_[index(page)];
        }
    }

    // Takes a reference from each page and frees those left with none. Throws std::invalid_argument when a page is
    // unknown, free, or named more often than it has references.
    void release(const std::vector<std::int64_t>& pages) {
        std::vector<std::int32_t> freed;
        freed.reserve(pages.size());
        std::size_t taken = 0;
        try {
            for (; taken < pages.size(); ++taken) {
                std::int64_t& count = references_[index(pages[taken])];
                if (count == 0) {
                    const auto times = std::count(pages.begin(), pages.end(), pages[taken]);
                    const auto held = std::count(pages.begin(), pages.begin() + static_cast<std::ptrdiff_t>(taken),
                                                 pages[taken]);
                    throw std::invalid_argument("page " + std::to_string(pages[taken]) + " of " +
                                                std::to_string(n_pages()) + ": " + std::to_string(times) +
                                                " releases asked for, references held: " + std::to_string(held));
                }
                if (--count == 0) {
                    freed.push_back(static_cast<std::int32_t>(pages[taken]));
                }
            }
        } catch (const std::invalid_argument&) {
            while (taken > 0) {
                ++references_[static_cast<std::size_t>(pages[--taken])];
            }
            throw;
        }
        for (const std::int32_t page : freed) {
            free_.push_back(page);  // never beyond n_pages, whose room was taken in the constructor
            std::push_heap(free_.begin(), free_.end(), std::greater<>{});
        }
    }

private:
    std::size_t index(std::int64_t page) const {
        if (page < 0 || page >= n_pages()) {
            throw std::invalid_argument("page " + std::to_string(page) + " is not one of this pool's " +
                                        std::to_string(n_pages()) + " pages");
        }
        return static_cast<std::size_t>(page);
    }

    std::vector<std::int64_t> references_;
    std::vector<std::int32_t> free_;
};

}  // namespace antiphon
