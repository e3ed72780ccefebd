// What the processes of one simulated node share: how much memory of which card each of them
// holds, and the model of each card's SM time. One file, mapped by every process that plays the
// driver (testing/cuda) and by the simulated NVML.
//
// A process is a slot. It lives while its fcntl lock on the slot's byte is held, so the memory of
// a killed process comes back whatever killed it, in whatever PID namespace it ran, and the
// kernel translates its PID for whoever asks. The file descriptor is therefore never closed:
// closing any descriptor of the file would drop the lock.
//
// Where the file is, first that applies: EDGE_GPU_SIM_CARDS; the line `cards PATH` of the node's
// state; on a host, `<state file>.cards`; else (a state beside the library, or a folder that cannot
// be written) /dev/shm/edge-gpu-sim-<hash of profile and node>; a process that cannot write there
// has the cards for itself. Containers share a node's cards when they share that file.
//
// A "unit" is what computes and has memory of its own: a card, or a MIG instance of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "testing/cuda/sm_model.h"
#include "testing/nvml/state_source.h"

namespace egpu::testing {

inline constexpr unsigned kSharedUnits = 128;                // 16 cards x (itself + 7 instances)
inline constexpr unsigned kSharedSlots = 512;                // processes
inline constexpr std::uint64_t kDriverReserve = 3ULL << 20;  // in use on an idle card

// Of a card by its position in SimNode::gpus; `instance` -1 for the card itself.
constexpr unsigned unit_of(int position, int instance) {
    return static_cast<unsigned>(position * 8 + instance + 1) % kSharedUnits;
}

struct ProcessUse {
    unsigned pid = 0;  // as the caller sees it; 0: in a namespace that the caller cannot see
    std::uint64_t bytes = 0;
    unsigned contexts = 0;
};

struct UtilizationSample {
    std::uint64_t time_us = 0;  // CLOCK_REALTIME
    unsigned pid = 0;
    unsigned sm_percent = 0;
};

struct SharedFile;  // the mapped layouts
struct SharedUnit;

class SharedNode {
  public:
    // Null, and a line on standard error, when the file cannot be made. Never freed; one per path.
    static SharedNode* open(const StateSource& source, const SimNode& node);
    // Null when there is no such file: no process has used the node's cards yet.
    static SharedNode* open_existing(const StateSource& source, const SimNode& node);

    // Claims a slot for this process; false when all are taken. Idempotent.
    bool join();

    // Memory of a unit. take() answers false, and takes nothing, when all processes together would
    // exceed `capacity`; dead processes are dropped before that is said.
    bool take(unsigned unit, std::uint64_t bytes, std::uint64_t capacity);
    void give_back(unsigned unit, std::uint64_t bytes);
    std::uint64_t used(unsigned unit);  // by all live processes
    void add_context(unsigned unit, int change);

    // The unit's model of SM time, run up to now and locked; dead processes' work is gone from it.
    // Models are made with `config` by whoever uses the unit first after all were idle for good.
    class Card {
      public:
        Card(SharedNode& node, unsigned unit, const SmConfig& config);
        ~Card();
        Card(const Card&) = delete;
        Card& operator=(const Card&) = delete;
        explicit operator bool() const { return unit_ != nullptr; }
        SmModel& model();
        std::uint64_t now() const { return now_; }
        int client();  // of this process, made when it has none; -1: no room, or not joined

      private:
        SharedNode& node_;
        SharedUnit* unit_;
        std::uint64_t now_;
    };

    // For NVML.
    std::vector<ProcessUse> processes(unsigned unit);
    // Each sample tells of one process in one period of 1/6 s; those after `after_us`, oldest
    // first.
    std::vector<UtilizationSample> samples(unsigned unit, std::uint64_t after_us);
    unsigned utilization(unsigned unit);  // percent, of the last period

    const std::string& path() const { return path_; }

  private:
    SharedNode(SharedFile* file, int fd, std::string path)
        : file_(file), fd_(fd), path_(std::move(path)) {}
    class Lock;
    static SharedNode* open_path(const std::string& path, int flags);
    bool alive(unsigned slot, unsigned* pid);
    void drop_dead();
    void drop_dead_now_and_then();
    std::uint64_t sum(unsigned unit) const;
    SharedUnit* map_unit(unsigned unit, const SmConfig& config);

    SharedFile* file_;
    int fd_;
    std::string path_;
    std::atomic<int> slot_{-1};
    std::atomic<SharedUnit*> units_[kSharedUnits] = {};
};

std::uint64_t monotonic_ns();

}  // namespace egpu::testing
