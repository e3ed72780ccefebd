// One stored version of one API object: immutable, shared by the store, its history and its
// readers.
//
// The document is kept without kind and apiVersion (list items carry none); text() serialises it
// once, on first use, so that listing 100,000 pods costs a concatenation. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/json.h"
#include "testing/apiserver/resources.h"

namespace egpu::testing {

class Object {
  public:
    // `doc` is an object with a metadata object; kind and apiVersion are taken off.
    Object(const Resource& resource, json::value doc, std::uint64_t revision);

    const Resource& resource() const { return *resource_; }
    const json::value& doc() const { return doc_; }
    std::uint64_t revision() const { return revision_; }
    std::string_view name() const { return json::get_string(doc_, {"metadata", "name"}); }
    std::string_view name_space() const {
        return json::get_string(doc_, {"metadata", "namespace"});
    }
    std::string_view uid() const { return json::get_string(doc_, {"metadata", "uid"}); }
    bool deleting() const { return json::find(doc_, {"metadata", "deletionTimestamp"}) != nullptr; }

    // As an item of a list.
    const std::string& text() const;
    // With kind and apiVersion in front.
    std::string full_text() const;
    void append_full_text(std::string& out) const;
    json::value full_doc() const;

  private:
    const Resource* resource_;
    json::value doc_;
    std::uint64_t revision_;
    mutable std::once_flag once_;
    mutable std::string text_;
};

using ObjectPtr = std::shared_ptr<const Object>;

// "namespace/name", or "name" for cluster-scoped kinds.
std::string object_key(std::string_view name_space, std::string_view name);

// Editing documents: the object under `key`, made when it is missing or something else.
json::object& child_object(json::object& parent, std::string_view key);
json::object& metadata_of(json::value& doc);
bool has_finalizers(const json::value& doc);
void set_string(json::object& in, std::string_view key, std::string_view value);

}  // namespace egpu::testing
