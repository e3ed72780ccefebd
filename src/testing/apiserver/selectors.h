// Label and field selectors as list and watch parameters carry them.
//
// Labels: equality (=, ==, !=), sets (in, notin), existence (key, !key). Fields: =, ==, != over the
// fields that the resource's entry names, plus metadata.name and metadata.namespace; others are
// refused with the API server's own message. Values only; thread-compatible.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "testing/apiserver/api_status.h"
#include "testing/apiserver/object.h"

namespace egpu::testing {

class LabelSelector {
  public:
    static Outcome<LabelSelector> parse(std::string_view text);
    bool matches(const Object& object) const;
    bool empty() const { return terms_.empty(); }

  private:
    enum class Op { kIn, kNotIn, kExists, kNotExists };
    struct Term {
        std::string key;
        Op op = Op::kExists;
        std::vector<std::string> values;
    };
    static Outcome<Term> parse_term(std::string_view text);
    std::vector<Term> terms_;
};

class FieldSelector {
  public:
    static Outcome<FieldSelector> parse(const Resource& resource, std::string_view text);
    bool matches(const Object& object) const;
    bool empty() const { return terms_.empty(); }

  private:
    struct Term {
        std::vector<std::string> path;
        bool equal = true;
        std::string value;
    };
    std::vector<Term> terms_;
};

struct Selection {
    LabelSelector labels;
    FieldSelector fields;
    std::string name_space;  // "": all
    std::string name;        // "": all

    bool matches(const Object& object) const;
};

}  // namespace egpu::testing
