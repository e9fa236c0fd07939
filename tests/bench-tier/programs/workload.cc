// SPDX-License-Identifier: Apache-2.0
#include "workload.h"

#include <algorithm>
#include <cstddef>

#include "random.h"

namespace work {
namespace {

constexpr uint64_t page_bytes = 4096;
constexpr uint32_t step_accesses = 8192;

// One word of each page: what a loader does, as cheap as it can be.
void touch_pages(const Shape& shape) {
    for (uint64_t at = 0; at < shape.bytes; at += page_bytes) {
        *reinterpret_cast<volatile uint64_t*>(shape.data + at) = at;
    }
}

// Picks a page for each access; the word within it is uniform, one access in 16 writes.
class PagePicker : public Workload {
  public:
    explicit PagePicker(const Shape& shape)
        : shape_(shape), pages_(uint32_t(shape.bytes / page_bytes)), random_(shape.seed) {}

    void populate() override { touch_pages(shape_); }

    uint64_t step(Samples& samples) override {
        for (uint32_t i = 0; i < step_accesses; ++i) {
            uint32_t bits = random_.next();
            auto word = reinterpret_cast<volatile uint64_t*>(shape_.data + pick() * page_bytes) +
                        bits % 512;
            uint64_t value = *word;
            if (bits >> 28 == 0) *word = value + 1;
            samples.offer(const_cast<uint64_t*>(word));
        }
        return step_accesses;
    }

  protected:
    virtual uint64_t pick() = 0;
    Shape shape_;
    uint32_t pages_;
    Random random_;
};

// 90 % of the accesses go to the hot pages, the others to the rest. order_ has the hot ones first.
class HotSet : public PagePicker {
  public:
    enum class Layout { contiguous, scattered };

    HotSet(const Shape& shape, Layout layout)
        : PagePicker(shape),
          hot_(std::clamp(uint32_t(shape.hot_bytes / page_bytes), 1u, pages_ - 1)) {
        if (layout == Layout::scattered) {
            order_ = shuffled(pages_, random_);
            return;
        }
        uint32_t start = random_.below(pages_);
        for (uint32_t i = 0; i < pages_; ++i) order_.push_back((start + i) % pages_);
    }

    // Disjoint from the old one where that fits.
    void jump() override {
        std::rotate(order_.begin(), order_.begin() + std::min(pages_ / 2, pages_ - hot_),
                    order_.end());
    }

  private:
    uint64_t pick() override {
        bool hot = random_.below(10) < 9;
        return order_[hot ? random_.below(hot_) : hot_ + random_.below(pages_ - hot_)];
    }
    uint32_t hot_;
    std::vector<uint32_t> order_;
};

class ZipfPages : public PagePicker {
  public:
    explicit ZipfPages(const Shape& shape)
        : PagePicker(shape), order_(shuffled(pages_, random_)), zipf_(pages_, 0.99) {}
    void jump() override { std::rotate(order_.begin(), order_.begin() + pages_ / 2, order_.end()); }

  private:
    uint64_t pick() override { return order_[zipf_.draw(random_)]; }
    std::vector<uint32_t> order_;
    Zipf zipf_;
};

class Uniform : public PagePicker {
  public:
    using PagePicker::PagePicker;

  private:
    uint64_t pick() override { return random_.below(pages_); }
};

// Page after page, round and round, eight words each: what every policy that believes in recency
// loses on.
class Scan : public PagePicker {
  public:
    using PagePicker::PagePicker;

  private:
    uint64_t pick() override { return ++at_ / 8 % pages_; }
    uint64_t at_ = 0;
};

// PageRank by pulling along a graph with skewed in-degrees, in compressed sparse rows. The data is
// the columns (by far the most, read in order), the rows, and the ranks that all vertices read from
// each other at random.
class PageRank : public Workload {
  public:
    explicit PageRank(const Shape& shape) : shape_(shape), random_(shape.seed) {
        while (vertices_ * 2 * bytes_per_vertex * 8 <= shape.bytes) vertices_ *= 2;
        edges_ = (shape.bytes - vertices_ * bytes_per_vertex - sizeof(uint64_t)) / sizeof(uint32_t);
        columns_ = reinterpret_cast<uint32_t*>(shape.data);
        rows_ = reinterpret_cast<uint64_t*>(shape.data + (edges_ * sizeof(uint32_t)) / 8 * 8);
        shares_ = reinterpret_cast<double*>(rows_ + vertices_ + 1) - 1;
        ranks_ = shares_ + vertices_;
        edges_ = uint64_t(reinterpret_cast<uint32_t*>(rows_) - columns_);
    }

    void populate() override {
        auto pairs = reinterpret_cast<uint64_t*>(columns_);
        for (uint64_t e = 0; e < edges_ / 2; ++e) pairs[e] = uint64_t(source()) << 32 | source();
        for (uint64_t v = 0; v < vertices_; ++v) rows_[v] = edges_ / vertices_ * v;
        for (uint64_t v = 0; v < vertices_; ++v) shares_[v] = 1;
        for (uint64_t v = 0; v < vertices_; ++v) ranks_[v] = 1;
    }

    uint64_t step(Samples& samples) override {
        uint64_t accesses = 0;
        double leak = 0.15, follow = 0.85 / double(edges_ / vertices_);
        while (accesses < step_accesses) {
            uint64_t first = rows_[vertex_], last = first + edges_ / vertices_;
            double sum = 0;
            for (uint64_t e = first; e < last; ++e) {
                const double* share = &shares_[columns_[e]];
                sum += *share;
                samples.offer(share);
                samples.offer(&columns_[e]);
            }
            ranks_[vertex_] = leak + follow * sum;
            accesses += 2 * (last - first) + 2;
            if (++vertex_ == vertices_) next_round();
        }
        return accesses;
    }

  private:
    // rows, shares, ranks
    static constexpr uint64_t bytes_per_vertex = 24;

    // Few vertices are linked to by many (the cube of a uniform number); where they lie is
    // scattered.
    uint32_t source() {
        uint64_t x = random_.next();
        uint64_t cube = (x * x >> 32) * x >> 32;
        return uint32_t((cube * vertices_ >> 32) * 0x9e3779b1 & (vertices_ - 1));
    }
    void next_round() {
        vertex_ = 0;
        for (uint64_t v = 0; v < vertices_; ++v) shares_[v] = ranks_[v];
    }

    Shape shape_;
    Random random_;
    uint64_t vertices_ = 1024, edges_ = 0, vertex_ = 0;
    uint32_t* columns_;
    uint64_t* rows_;
    double* shares_;
    double* ranks_;
};

}  // namespace

const char* const workload_names = "hot-contiguous, hot-scattered, zipf, pagerank, uniform, scan";

std::unique_ptr<Workload> make_workload(const std::string& name, const Shape& shape) {
    if (name == "hot-contiguous")
        return std::make_unique<HotSet>(shape, HotSet::Layout::contiguous);
    if (name == "hot-scattered") return std::make_unique<HotSet>(shape, HotSet::Layout::scattered);
    if (name == "zipf") return std::make_unique<ZipfPages>(shape);
    if (name == "pagerank") return std::make_unique<PageRank>(shape);
    if (name == "uniform") return std::make_unique<Uniform>(shape);
    if (name == "scan") return std::make_unique<Scan>(shape);
    return nullptr;
}

}  // namespace work
