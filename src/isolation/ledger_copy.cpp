#include "isolation/ledger_copy.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "guard/memory_stock.h"

namespace egpu::isolation {
namespace {

Status read_all(int file, void* to, std::size_t size, const std::string& name) {
    auto* out = static_cast<char*>(to);
    std::size_t have = 0;
    while (have < size) {
        const ssize_t n = ::pread(file, out + have, size - have, static_cast<off_t>(have));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno_error("read " + name, errno);
        if (n == 0) return Error{ErrorCode::kInvalid, name + " was truncated"};
        have += static_cast<std::size_t>(n);
    }
    return ok_status();
}

std::uint64_t add_capped(std::uint64_t a, std::uint64_t b) {
    const std::uint64_t sum = a + b;
    return sum < a ? ~std::uint64_t{0} : sum;
}

ProcessUse process_of(const guard::ProcessSlot& slot, std::uint64_t index) {
    ProcessUse use;
    use.id = index << 56 ^ std::uint64_t{slot.claims} << 32 ^ slot.live.load();
    for (unsigned i = 0; i < guard::kMaxDevices; ++i) {
        use.charged_ns[i] = slot.compute[i].charged_ns.load();
        use.span_ns[i] = slot.compute[i].span_ns.load();
        use.span_cost_ns[i] = slot.compute[i].span_cost_ns.load();
    }
    return use;
}

SlotClaim claim_of(const guard::Ledger& ledger, unsigned index, std::uint32_t live) {
    const guard::ProcessSlot& slot = ledger.slots[index];
    SlotClaim claim;
    for (unsigned i = 0; i < guard::kMaxDevices; ++i)
        claim.used_bytes[i] = guard::claimed_bytes(ledger, index, i);
    const std::uint64_t holder = slot.holder.load();
    if (holder >> 32 != live) return claim;  // what stands there is another's
    claim.pid = static_cast<unsigned>(holder);
    claim.start_time = slot.start_time.load();
    claim.pid_namespace = slot.pid_namespace.load();
    return claim;
}

void add_slot(const guard::Ledger& ledger, unsigned index, LedgerCopy& copy) {
    const guard::ProcessSlot& slot = ledger.slots[index];
    const std::uint32_t live = slot.live.load();
    if (live == 0 || (live & guard::kOwnerDied) != 0) return;
    ++copy.processes;
    if (index == guard::kSpillSlot) {
        copy.spilled = copy.claims.size() == guard::kSpillSlot;
    } else {
        copy.claims.push_back(claim_of(ledger, index, live));
    }
    bool working = false;
    copy.uncovered = add_capped(copy.uncovered, slot.stats.uncovered.load());
    copy.unknown_frees = add_capped(copy.unknown_frees, slot.stats.unknown_frees.load());
    for (unsigned i = 0; i < guard::kMaxDevices; ++i) {
        CardUsage& card = copy.cards[i];
        card.slots_bytes = add_capped(card.slots_bytes, guard::claimed_bytes(ledger, index, i));
        card.let_through = add_capped(card.let_through, slot.compute[i].let_through.load());
        card.outstanding_ns =
            add_capped(card.outstanding_ns, slot.compute[i].outstanding_ns.load());
        card.launches = add_capped(card.launches, slot.compute[i].launches.load());
        card.charged_ns = add_capped(card.charged_ns, slot.compute[i].charged_ns.load());
        card.throttled_ns = add_capped(card.throttled_ns, slot.compute[i].throttled_ns.load());
        working = working || slot.compute[i].launches.load() > 0;
    }
    if (working) copy.working.push_back(process_of(slot, index));
}

}  // namespace

Status make_ledger(const std::filesystem::path& path) {
    const Fd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!file.valid()) return errno_error("open " + path.string(), errno);
    if (::fchmod(file.get(), 0666) != 0) return errno_error("chmod " + path.string(), errno);
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) return errno_error("stat " + path.string(), errno);
    if (info.st_size != static_cast<off_t>(sizeof(guard::Ledger)) &&
        ::ftruncate(file.get(), sizeof(guard::Ledger)) != 0) {
        return errno_error("size " + path.string(), errno);
    }
    // The container's processes write it through a mapping: a hole for which the disk has no room
    // would be SIGBUS for them.
    if (const int error = ::posix_fallocate(file.get(), 0, sizeof(guard::Ledger)); error != 0) {
        return errno_error("make room for " + path.string(), error);
    }
    return ok_status();
}

Result<LedgerCopy> read_ledger(const std::filesystem::path& path) {
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file.valid()) return errno_error("open " + path.string(), errno);
    struct stat info {};
    if (::fstat(file.get(), &info) != 0) return errno_error("stat " + path.string(), errno);
    if (!S_ISREG(info.st_mode) || info.st_size != static_cast<off_t>(sizeof(guard::Ledger))) {
        return Error{
            ErrorCode::kInvalid, path.string() + " has another size than it was made with"};
    }
    const auto ledger = std::make_unique<guard::Ledger>();
    EG_TRY_VOID(read_all(file.get(), ledger.get(), sizeof(guard::Ledger), path.string()));
    LedgerCopy copy;
    const std::uint64_t magic = ledger->magic.load();
    if (magic == 0) return copy;
    if (magic != guard::kLedgerMagic || ledger->abi_major != guard::kAbiMajor) {
        return Error{ErrorCode::kInvalid, path.string() + " is not a ledger of this version"};
    }
    for (unsigned i = 0; i < guard::kMaxDevices; ++i) {
        const guard::DeviceTotals& totals = ledger->totals[i];
        copy.cards[i].used_bytes = (totals.word.load() & guard::kUnitMask) * guard::kUnitBytes;
        copy.cards[i].used_bytes -=
            std::min(copy.cards[i].used_bytes, guard::spare_bytes(*ledger, i));
        copy.cards[i].peak_bytes =
            std::min(totals.peak_units.load(), guard::kUnitMask) * guard::kUnitBytes;
        copy.cards[i].refused = totals.refused.load();
        copy.cards[i].audit_repairs = totals.audit_repairs.load();
        copy.cards[i].demand_ns = ledger->compute[i].demand_ns.load();
        copy.cards[i].largest_ns = ledger->compute[i].largest_ns.load();
    }
    for (unsigned i = 0; i < guard::kSlots; ++i) add_slot(*ledger, i, copy);
    return copy;
}

bool ledger_moved(const std::filesystem::path& path, LedgerMark& mark) {
    const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    std::array<guard::ComputeBucket, guard::kMaxDevices> buckets;
    const ssize_t n = file.valid() ? ::pread(
                                         file.get(),
                                         buckets.data(),
                                         sizeof buckets,
                                         static_cast<off_t>(offsetof(guard::Ledger, compute))
                                     )
                                   : -1;
    if (n != static_cast<ssize_t>(sizeof buckets)) return false;
    LedgerMark now{};
    for (unsigned i = 0; i < guard::kMaxDevices; ++i) now[i] = buckets[i].demand_ns.load();
    return std::exchange(mark, now) != now;
}

}  // namespace egpu::isolation
