// guard_pages FOLDER UUID CARD_MIB PERCENT hard|soft|burst|off: the two files of an allocation with
// a share of one card, as the agent would write them; for trying the guard without a cluster
// (tools/guard_on_gpu).
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "isolation/ledger_copy.h"
#include "isolation/limits_file.h"
#include "isolation/quota.h"

int main(int argc, char** argv) {
    using namespace egpu;
    const std::map<std::string, core::ComputeMode> modes{
        {"hard", core::ComputeMode::kHard},
        {"soft", core::ComputeMode::kSoft},
        {"burst", core::ComputeMode::kBurst},
        {"off", core::ComputeMode::kOff}};
    const auto mode = argc == 6 ? modes.find(argv[5]) : modes.end();
    const int percent = argc == 6 ? std::atoi(argv[4]) : 0;
    if (mode == modes.end() || percent < 1 || percent > core::kCardUnits) {
        std::fprintf(
            stderr, "usage: guard_pages FOLDER UUID CARD_MIB 1..100 hard|soft|burst|off\n"
        );
        return 2;
    }
    core::Card card;
    card.uuid = argv[2];
    card.memory_mib = std::atoll(argv[3]);
    const std::vector<core::CardShare> shares{{card.uuid, 0, percent, 0}};
    const auto quota = isolation::quota_of(shares, {&card, 1}, mode->second);
    const std::filesystem::path folder = argv[1];
    auto limits = isolation::LimitsFile::open(folder / guard::kLimitsFile);
    const Status ledger = isolation::make_ledger(folder / guard::kLedgerFile);
    if (!quota || !limits || !ledger) {
        const Error& why = !quota ? quota.error() : !limits ? limits.error() : ledger.error();
        std::fprintf(stderr, "guard_pages: %s\n", why.message.c_str());
        return 1;
    }
    limits->publish(isolation::body_of(*quota));
    return 0;
}
