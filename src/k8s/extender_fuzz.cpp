// Extender bodies in pieces: never a crash, and what is accepted can be answered with valid JSON.
// The first byte chooses the size of the pieces.
#include <cstdlib>

#include "base/json.h"
#include "k8s/extender.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
    using namespace egpu;
    if (size == 0) return 0;
    const std::size_t piece = 1 + data[0];
    const std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
    k8s::ExtenderReader reader(k8s::ExtenderLimits{.max_nodes = 1000, .max_raw = 1U << 16});
    for (std::size_t at = 0; at < body.size(); at += piece) {
        if (!reader.feed({body.data() + at, std::min(piece, body.size() - at)})) break;
    }
    const auto valid = [](const std::string& text) {
        if (!json::parse(text)) std::abort();
    };
    if (const auto args = reader.args()) {
        std::vector<std::uint32_t> fitting;
        std::vector<k8s::FailedNode> failed;
        const k8s::FilterReason reasons[] = {{"why", true}, {"why", false}};
        for (std::uint32_t i = 0; i < (*args)->nodes.size(); ++i) {
            if (i % 3 == 0) failed.push_back({i, i % 2});
            if (i % 3 != 0) fitting.push_back(i);
        }
        valid(k8s::write_filter_result(**args, fitting, failed, reasons).text());
        valid(k8s::write_priorities(**args, std::vector<int>((*args)->nodes.size(), 3)));
        static_cast<void>(
            core::parse_request((*args)->pod->containers, (*args)->pod->meta.annotations)
        );
    } else {
        valid(k8s::write_filter_error(args.error().message));
    }
    if (const auto args = reader.preemption_args())
        valid(k8s::write_preemption_result((*args)->nodes));
    if (const auto args = reader.binding_args()) valid(k8s::write_binding_result(args->node));
    return 0;
}
