// The SM time of a unit: its model, run on by whoever looks, and the samples taken on the way.
#include <algorithm>
#include <ctime>
#include <iterator>
#include <mutex>

#include <sys/mman.h>

#include "testing/nvml/shared_layout.h"

namespace egpu::testing {
namespace {

constexpr std::uint64_t kPeriod = 166'666'667;  // ns; NVML's sampling of utilization
constexpr std::uint64_t kForgetAfter = 1'000'000'000;

std::uint64_t real_us() {
    timespec real{};
    clock_gettime(CLOCK_REALTIME, &real);
    return static_cast<std::uint64_t>(real.tv_sec) * 1'000'000ULL +
           static_cast<std::uint64_t>(real.tv_nsec) / 1000ULL;
}

void take_sample(SharedUnit& unit, const SharedFile& file, std::uint64_t time_us) {
    double all = 0;
    for (unsigned i = 0; i < file.slots_seen; ++i) {
        if (unit.client[i] == 0) continue;
        const double busy = unit.model.use(unit.client[i] - 1).busy_ns;
        const double share = 100.0 * (busy - unit.busy_before[i]) / static_cast<double>(kPeriod);
        unit.busy_before[i] = busy;
        if (share <= 0) continue;
        all += share;
        const auto percent = static_cast<std::uint32_t>(std::min(share + 0.5, 100.0));
        unit.ring[unit.next++ % kRing] = {time_us, i, file.slots[i].who.pid, percent, 0};
    }
    unit.percent = static_cast<std::uint32_t>(std::min(all + 0.5, 100.0));
}

// Up to `now`, with a sample at the end of each period on the way.
void run(SharedUnit& unit, const SharedFile& file, std::uint64_t now) {
    // After a long silence only the last periods are of interest.
    if (now > unit.sampled + 64 * kPeriod) {
        const std::uint64_t skipped = (now - unit.sampled) / kPeriod - 32;
        unit.model.advance(unit.sampled + skipped * kPeriod);
        take_sample(unit, file, 0);
        unit.sampled += skipped * kPeriod;
    }
    while (unit.sampled + kPeriod <= now) {
        unit.sampled += kPeriod;
        unit.model.advance(unit.sampled);
        take_sample(unit, file, real_us() - (now - unit.sampled) / 1000);
    }
    unit.model.advance(now);
}

}  // namespace

std::uint64_t monotonic_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000ULL +
           static_cast<std::uint64_t>(now.tv_nsec);
}

SharedUnit* SharedNode::map_unit(unsigned unit, const SmConfig& config) {
    if (SharedUnit* mapped = units_[unit]; mapped != nullptr) return mapped;
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    if (SharedUnit* mapped = units_[unit]; mapped != nullptr) return mapped;
    void* at = ::mmap(
        nullptr, sizeof(SharedUnit), PROT_READ | PROT_WRITE, MAP_SHARED, fd_, unit_offset(unit)
    );
    if (at == MAP_FAILED) return nullptr;
    ::madvise(at, sizeof(SharedUnit), MADV_DONTDUMP);
    auto* mapped = static_cast<SharedUnit*>(at);
    // The byte is this process's at most once: `mutex` keeps its other threads out.
    lock_byte(fd_, kInitByte, true);
    const std::uint64_t now = monotonic_ns();
    const bool made = file_->unit_made[unit] != 0;
    if (!made || mapped->model.now() > now + kForgetAfter) {  // that clock was another boot's
        if (!made) make_mutex(&mapped->mutex);
        mapped->model.reset(config, now);
        mapped->sampled = now;
        std::fill(std::begin(mapped->client), std::end(mapped->client), 0);
        file_->unit_made[unit] = 1;
    }
    unlock_byte(fd_, kInitByte);
    units_[unit] = mapped;
    return mapped;
}

SharedNode::Card::Card(SharedNode& node, unsigned unit, const SmConfig& config)
    : node_(node), unit_(node.map_unit(unit, config)), now_(0) {
    if (unit_ == nullptr) return;
    if (node.file_->slots_seen > (node.slot_ >= 0 ? 1U : 0U)) node.drop_dead_now_and_then();
    lock_mutex(&unit_->mutex);
    now_ = monotonic_ns();
    run(*unit_, *node.file_, now_);
}

SharedNode::Card::~Card() {
    if (unit_ != nullptr) pthread_mutex_unlock(&unit_->mutex);
}

SmModel& SharedNode::Card::model() {
    return unit_->model;
}

int SharedNode::Card::client() {
    if (node_.slot_ < 0) return -1;
    const auto slot = static_cast<unsigned>(node_.slot_);
    if (unit_->client[slot] == 0) {
        unit_->client[slot] = unit_->model.add_client(now_) + 1;
        unit_->busy_before[slot] = 0;
    }
    return unit_->client[slot] - 1;
}

std::vector<UtilizationSample> SharedNode::samples(unsigned unit, std::uint64_t after_us) {
    std::vector<UtilizationSample> found;
    if (file_->unit_made[unit] == 0) return found;
    const Card card(*this, unit, {});
    if (!card) return found;
    const SharedUnit& shared = *units_[unit].load();
    const std::uint32_t first = shared.next > kRing ? shared.next - kRing : 0;
    for (std::uint32_t i = first; i < shared.next; ++i) {
        const SharedSample& entry = shared.ring[i % kRing];
        const SharedSlot& slot = file_->slots[entry.slot];
        UtilizationSample out{entry.time_us, 0, entry.percent};
        // What a process did that is gone, and its slot another's, is not told.
        if (entry.time_us <= after_us || slot.claimed == 0 || slot.who.pid != entry.pid ||
            !alive(entry.slot, &out.pid)) {
            continue;
        }
        found.push_back(out);
    }
    return found;
}

unsigned SharedNode::utilization(unsigned unit) {
    if (file_->unit_made[unit] == 0) return 0;
    const Card card(*this, unit, {});
    return card ? units_[unit].load()->percent : 0;
}

}  // namespace egpu::testing
