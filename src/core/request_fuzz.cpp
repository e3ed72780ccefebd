// A pod's quantities and annotations, one "key=value" a line; then what comes of them is planned on
// a small node and put into a ledger, which must keep its promises.
//   c<kind><name>=<percent>/<whole>   a container, kind i, s or a
//   anything else                     an annotation
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "core/ledger.h"
#include "core/request.h"

using namespace egpu::core;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string text(data, data + size);
    std::vector<ContainerSpec> containers;
    std::map<std::string, std::string> annotations;
    for (std::size_t from = 0; from < text.size();) {
        const std::size_t end = std::min(text.find('\n', from), text.size());
        const std::string line = text.substr(from, end - from);
        from = end + 1;
        const std::size_t equals = line.find('=');
        if (equals == std::string::npos) continue;
        const std::string key = line.substr(0, equals);
        const std::string value = line.substr(equals + 1);
        if (key.size() >= 2 && key[0] == 'c') {
            ContainerSpec spec;
            spec.name = key.substr(2);
            if (key[1] == 'i') spec.kind = ContainerKind::kInit;
            if (key[1] == 's') spec.kind = ContainerKind::kSidecar;
            const std::size_t slash = std::min(value.find('/'), value.size());
            spec.percent = value.substr(0, slash);
            if (slash < value.size()) spec.whole = value.substr(slash + 1);
            containers.push_back(spec);
        } else {
            annotations[key] = value;
        }
    }
    const auto request = parse_request(containers, annotations);
    if (!request) {
        EG_CHECK(!request.error().message.empty());
        return 0;
    }
    for (const ContainerRequest& c : request->containers) {
        EG_CHECK(c.cards >= 1 && c.percent >= 1 && c.percent <= 100 && c.memory_mib >= 0);
        EG_CHECK(c.whole == (c.percent == 100) && (c.cards == 1 || c.whole));
    }
    Ledger ledger;
    NodeInventory node;
    for (int i = 0; i < 3; ++i) {
        node.cards.push_back({"GPU-" + std::to_string(i), i, "Tesla T4", 15360, -1, i != 1});
    }
    ledger.upsert_node("n", node);
    const auto placement = ledger.reserve({"a", "d", "a"}, "n", *request, {}, egpu::Seconds(1));
    ledger.upsert_pod({{"b", "d", "b"}, "n", *request, std::nullopt});
    EG_CHECK(ledger.check_invariants().empty());
    if (placement && !request->empty()) {
        EG_CHECK(!ledger.pod("a")->guessed && ledger.pod("a")->placement == *placement);
    }
    return 0;
}
