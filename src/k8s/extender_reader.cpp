#include <algorithm>

#include "k8s/extender.h"
#include "k8s/extender_body.h"

namespace egpu::k8s {

struct ExtenderReader::Impl : ExtenderBody {
    using ExtenderBody::ExtenderBody;

    // The body was read to its end.
    Status complete() const {
        if (cursor.error) return *cursor.error;
        if (cursor.scanner.done()) return ok_status();
        return Error{ErrorCode::kInvalid, "the body ends in the middle of a JSON value"};
    }
};

ExtenderReader::ExtenderReader(ExtenderLimits limits) : impl_(std::make_unique<Impl>(limits)) {}
ExtenderReader::~ExtenderReader() = default;
ExtenderReader::ExtenderReader(ExtenderReader&&) noexcept = default;
ExtenderReader& ExtenderReader::operator=(ExtenderReader&&) noexcept = default;

void ExtenderReader::reset() {
    impl_->reset();
}

void ExtenderReader::expect(std::shared_ptr<const KnownNames> names) {
    impl_->expected = std::move(names);
}

std::span<char> ExtenderReader::room() {
    return impl_->cursor.window.room();
}

Status ExtenderReader::received(std::size_t size) {
    Impl& i = *impl_;
    if (i.cursor.error) return *i.cursor.error;
    if (done()) return ok_status();
    i.cursor.window.filled(size);
    if (!i.advance()) return *i.cursor.error;
    return ok_status();
}

Status ExtenderReader::feed(std::span<const char> bytes) {
    do {
        const std::span<char> into = room();
        const std::size_t n = std::min(into.size(), bytes.size());
        std::copy_n(bytes.data(), n, into.data());
        EG_TRY_VOID(received(n));
        bytes = bytes.subspan(n);
    } while (!bytes.empty() && !done());
    return ok_status();
}

std::size_t ExtenderReader::kept() const {
    return impl_->cursor.window.kept();
}

bool ExtenderReader::done() const {
    return impl_->cursor.scanner.done();
}

namespace {

Error missing(std::string_view what) {
    return Error{ErrorCode::kInvalid, std::string(what) + " is missing"};
}

}  // namespace

Result<const ExtenderArgs*> ExtenderReader::args() {
    Impl& i = *impl_;
    EG_TRY_VOID(i.complete());
    if (!i.args.pod) return missing("Pod");
    if (!i.saw_nodes && !i.saw_names) {
        return Error{ErrorCode::kInvalid, "both Nodes and NodeNames are missing"};
    }
    i.args.names_mode = i.saw_names;
    i.args.node_texts.clear();
    if (i.limits.keep_nodes) {
        for (const NodesSection::Text& node : i.nodes.texts()) {
            const char* const from = i.cursor.window.at(node.from);
            i.args.node_texts.emplace_back(from, static_cast<std::size_t>(node.to - node.from));
        }
    }
    return &i.args;
}

Result<ExtenderBindingArgs> ExtenderReader::binding_args() {
    Impl& i = *impl_;
    EG_TRY_VOID(i.complete());
    if (i.binding.pod_name.empty()) return missing("PodName");
    if (i.binding.pod_namespace.empty()) return missing("PodNamespace");
    if (i.binding.node.empty()) return missing("Node");
    return i.binding;
}

Result<const ExtenderPreemptionArgs*> ExtenderReader::preemption_args() {
    Impl& i = *impl_;
    EG_TRY_VOID(i.complete());
    if (!i.args.pod) return missing("Pod");
    i.preemption.pod = i.args.pod;
    if (!i.saw_victims) {
        return Error{
            ErrorCode::kInvalid, "both NodeNameToVictims and NodeNameToMetaVictims are missing"};
    }
    return &i.preemption;
}

}  // namespace egpu::k8s
