// The table of kinds this API server knows: one entry a resource. Discovery, routing, selectors,
// printing and update rules all read it; a new kind is a new entry (and, if it prints more than its
// name and age, a row function in printers*.cpp).
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace egpu::testing {

class Object;

struct Column {
    std::string_view name;
    std::string_view type = "string";  // "string" | "integer"
    std::string_view format = "";      // "name" for the first column
    int priority = 0;                  // 1: shown with -o wide only
};

// Fills `cells`, one entry a column.
using RowPrinter = void (*)(const Object& object, json::array& cells);

struct Resource {
    std::string_view group;  // "" = core
    std::string_view version;
    std::string_view plural;
    std::string_view singular;
    std::string_view kind;
    bool namespaced = true;
    std::vector<std::string_view> short_names = {};
    std::vector<std::string_view> categories = {};
    std::vector<std::string_view> subresources = {};  // "status", "binding", ...
    std::vector<std::string_view> fields =
        {};                            // field selectors besides metadata.name and .namespace
    bool unconditional_update = true;  // PUT without a resourceVersion is allowed
    std::vector<Column> columns = {};
    RowPrinter print = nullptr;
    std::size_t index = 0;  // position in the table

    std::string group_version() const;  // "v1", "coordination.k8s.io/v1"
    std::string qualified() const;      // "pods", "leases.coordination.k8s.io"
    std::string path_prefix() const;    // "/api/v1", "/apis/coordination.k8s.io/v1"
    bool has_subresource(std::string_view name) const;
};

std::span<const Resource> all_resources();
// nullptr when unknown.
const Resource* find_resource(
    std::string_view group, std::string_view version, std::string_view plural
);
const Resource* find_kind(std::string_view api_version, std::string_view kind);
// By plural alone, as tests name them.
const Resource* find_plural(std::string_view plural);

// Those that have rules of their own.
const Resource& pods();
const Resource& nodes();
const Resource& namespaces();

}  // namespace egpu::testing
