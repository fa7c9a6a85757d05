// SPDX-License-Identifier: Apache-2.0
#include "chnsw.h"

#include <pk_encoder.h>

// Our own distances are dispatched at run time; the library's are chosen by compiler flags.
#define NO_MANUAL_VECTORIZATION
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <exception>
#include <fstream>
#include <hnswlib/hnswlib.h>
#include <memory>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Distance {
  pk_pair_f32 pair;
  ptrdiff_t dimension;
};

float inner_product(const void *a, const void *b, const void *parameter) {
  const Distance *d = static_cast<const Distance *>(parameter);
  return 1.0f - d->pair(static_cast<const float *>(a), static_cast<const float *>(b), d->dimension);
}

float squared(const void *a, const void *b, const void *parameter) {
  const Distance *d = static_cast<const Distance *>(parameter);
  return d->pair(static_cast<const float *>(a), static_cast<const float *>(b), d->dimension);
}

class Space final : public hnswlib::SpaceInterface<float> {
 public:
  Space(size_t dimension, bool l2)
      : l2_(l2), distance_{l2 ? pk_l2sq_f32_function() : pk_dot_f32_function(), static_cast<ptrdiff_t>(dimension)} {}
  size_t get_data_size() override { return static_cast<size_t>(distance_.dimension) * sizeof(float); }
  hnswlib::DISTFUNC<float> get_dist_func() override { return l2_ ? squared : inner_product; }
  void *get_dist_func_param() override { return &distance_; }

 private:
  bool l2_;
  Distance distance_;
};

using Graph = hnswlib::HierarchicalNSW<float>;

void say(char *message, const char *text) {
  if (message) std::snprintf(message, PH_MESSAGE, "%s", text);
}

template <typename Body>
bool guarded(char *message, Body body) {
  try {
    body();
    return true;
  } catch (const std::bad_alloc &) {
    say(message, "not enough memory");
  } catch (const std::exception &error) {
    say(message, error.what());
  } catch (...) {
    say(message, "unknown error");
  }
  return false;
}

// The head of a stored graph, in the order in which the library writes it.
struct Header {
  uint64_t offset_level0, max_elements, count, element_size, label_offset, data_offset;
  int32_t max_level;
  uint32_t entry;
  uint64_t max_m, max_m0, m;
  double mult;
  uint64_t ef_construction;
};

Header read_header(const char *path) {
  std::ifstream input(path, std::ios::binary);
  Header h{};
  const auto get = [&](auto &field) { input.read(reinterpret_cast<char *>(&field), sizeof field); };
  get(h.offset_level0), get(h.max_elements), get(h.count), get(h.element_size), get(h.label_offset), get(h.data_offset);
  get(h.max_level), get(h.entry), get(h.max_m), get(h.max_m0), get(h.m), get(h.mult), get(h.ef_construction);
  if (!input) throw std::runtime_error("graph file is truncated");
  return h;
}

void check_header(const Header &h, size_t dimension, size_t count) {
  const uint64_t links = h.m <= 10000 ? h.max_m0 * sizeof(uint32_t) + sizeof(uint32_t) : 0;
  if (h.m < 2 || h.m > 10000 || h.max_m != h.m || h.max_m0 != 2 * h.m || h.offset_level0 != 0 || h.data_offset != links ||
      h.label_offset != links + dimension * sizeof(float) ||
      h.element_size != h.label_offset + sizeof(hnswlib::labeltype) || !(h.mult > 0) || h.mult > 10)
    throw std::runtime_error("graph file is of another dimension or format");
  if (h.count != count) throw std::runtime_error("graph file holds another number of rows");
  if (count > 0 && (h.max_level < 0 || h.max_level > 64 || h.entry >= count))
    throw std::runtime_error("graph file has a bad entry point");
}

void check_links(Graph &graph) {
  const size_t count = graph.cur_element_count;
  std::vector<bool> seen(count);
  for (size_t i = 0; i < count; i++) {
    const size_t label = graph.getExternalLabel(static_cast<hnswlib::tableint>(i));
    if (label >= count || seen[label]) throw std::runtime_error("graph file has a bad label");
    seen[label] = true;
    for (int level = 0; level <= graph.element_levels_[i]; level++) {
      auto *list = graph.get_linklist_at_level(static_cast<hnswlib::tableint>(i), level);
      const size_t size = graph.getListCount(list);
      if (size > (level ? graph.maxM_ : graph.maxM0_)) throw std::runtime_error("graph file has a bad link count");
      for (size_t j = 0; j < size; j++) {
        const hnswlib::tableint other = reinterpret_cast<hnswlib::tableint *>(list + 1)[j];
        if (other >= count || graph.element_levels_[other] < level) throw std::runtime_error("graph file has a bad link");
      }
    }
  }
  if (count > 0 && graph.element_levels_[graph.enterpoint_node_] < graph.maxlevel_)
    throw std::runtime_error("graph file has a bad entry point");
}

}  // namespace

struct ph_graph {
  Space space;
  std::unique_ptr<Graph> graph;
  mutable std::shared_mutex lock;
  size_t dimension;
  ph_graph(size_t dimension, bool l2) : space(dimension, l2), dimension(dimension) {}
};

extern "C" {

ph_graph *ph_create(size_t dimension, bool l2, size_t capacity, size_t m, size_t ef_construction, uint64_t seed,
                    char *message) {
  std::unique_ptr<ph_graph> made;
  const bool ok = guarded(message, [&] {
    made = std::make_unique<ph_graph>(dimension, l2);
    made->graph = std::make_unique<Graph>(&made->space, std::max<size_t>(capacity, 1), m, ef_construction, seed);
  });
  return ok ? made.release() : nullptr;
}

void ph_destroy(ph_graph *graph) { delete graph; }

size_t ph_count(const ph_graph *graph) {
  std::shared_lock hold(graph->lock);
  return graph->graph->cur_element_count;
}

bool ph_add(ph_graph *graph, const float *rows, size_t count, size_t threads, char *message) {
  std::unique_lock hold(graph->lock);
  Graph &g = *graph->graph;
  return guarded(message, [&] {
    if (count == 0) return;
    const size_t first_label = g.cur_element_count;
    if (count > g.max_elements_ - g.cur_element_count) throw std::runtime_error("more rows than the stated capacity");
    // The first row alone: the library takes an empty graph's entry point to be row 0.
    g.addPoint(rows, first_label);
    std::atomic<size_t> next{1};
    std::exception_ptr failure;
    std::mutex failure_lock;
    const auto work = [&] {
      try {
        for (size_t i; (i = next.fetch_add(1)) < count;) g.addPoint(rows + i * graph->dimension, first_label + i);
      } catch (...) {
        std::lock_guard keep(failure_lock);
        failure = std::current_exception();
        next = count;
      }
    };
    std::vector<std::thread> others;
    try {
      for (size_t t = 1; t < std::min(threads, count); t++) others.emplace_back(work);
    } catch (const std::system_error &) {
      // Fewer threads than wished for do the same work.
    }
    work();
    for (auto &other : others) other.join();
    if (failure) std::rethrow_exception(failure);
  });
}

ptrdiff_t ph_search(ph_graph *graph, const float *query, size_t k, size_t ef, uint64_t *labels, float *distances,
                    char *message) {
  std::shared_lock hold(graph->lock);
  ptrdiff_t found = 0;
  const bool ok = guarded(message, [&] {
    // The library looks at max(ef_, k) candidates and ef_ is shared by all threads: ask for ef results and keep k.
    auto result = graph->graph->searchKnn(query, std::max(k, ef));
    while (result.size() > k) result.pop();
    found = static_cast<ptrdiff_t>(result.size());
    for (ptrdiff_t i = found - 1; i >= 0; i--) {
      labels[i] = result.top().second;
      distances[i] = result.top().first;
      result.pop();
    }
  });
  return ok ? found : -1;
}

void ph_distances(ph_graph *graph, const float *query, float *out) {
  std::shared_lock hold(graph->lock);
  Graph &g = *graph->graph;
  for (size_t i = 0; i < g.cur_element_count; i++) {
    const auto id = static_cast<hnswlib::tableint>(i);
    out[g.getExternalLabel(id)] = g.fstdistfunc_(query, g.getDataByInternalId(id), g.dist_func_param_);
  }
}

const float *ph_vector(ph_graph *graph, size_t label) {
  std::shared_lock hold(graph->lock);
  const auto place = graph->graph->label_lookup_.find(label);
  if (place == graph->graph->label_lookup_.end()) return nullptr;
  return reinterpret_cast<const float *>(graph->graph->getDataByInternalId(place->second));
}

bool ph_save(ph_graph *graph, const char *path, char *message) {
  std::shared_lock hold(graph->lock);
  return guarded(message, [&] {
    Graph &g = *graph->graph;
    g.saveIndex(path);
    // The library ignores failing writes, so a full disk shows as a short file.
    uint64_t expected = 96 + g.cur_element_count * (g.size_data_per_element_ + sizeof(uint32_t));
    for (size_t i = 0; i < g.cur_element_count; i++) expected += g.element_levels_[i] * g.size_links_per_element_;
    std::ifstream written(path, std::ios::binary | std::ios::ate);
    if (!written || static_cast<uint64_t>(written.tellg()) != expected)
      throw std::runtime_error("graph file could not be written completely (disk full?)");
  });
}

ph_graph *ph_load(const char *path, size_t dimension, bool l2, size_t count, char *message) {
  std::unique_ptr<ph_graph> made;
  const bool ok = guarded(message, [&] {
    check_header(read_header(path), dimension, count);
    made = std::make_unique<ph_graph>(dimension, l2);
    made->graph = std::make_unique<Graph>(&made->space, std::string(path), false, std::max<size_t>(count, 1));
    check_links(*made->graph);
  });
  return ok ? made.release() : nullptr;
}

}  // extern "C"
