#include "doctor/config_text.h"

#include <charconv>
#include <cstddef>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {
constexpr void must_hold(bool holds) {
    if (!holds) throw std::logic_error("not TOML");
}
}  // namespace

// toml++ 3.3 asserts that "[[" is followed by a key before it has looked (and assumes so in release
// builds): broken assertions become errors.
#undef NDEBUG
#define TOML_ASSERT(expression) must_hold(static_cast<bool>(expression))
#include <toml++/toml.h>
#include <yaml-cpp/yaml.h>

namespace egpu::doctor {
namespace {

constexpr int kDeepest = 64;
constexpr std::size_t kMostNodes = 100'000;

json::value from_toml(const toml::node& node) {
    switch (node.type()) {
        case toml::node_type::table: {
            json::object out;
            for (const auto& [key, value] : *node.as_table()) out[key.str()] = from_toml(value);
            return out;
        }
        case toml::node_type::array: {
            json::array out;
            for (const auto& value : *node.as_array()) out.push_back(from_toml(value));
            return out;
        }
        case toml::node_type::string:
            return json::value(node.as_string()->get());
        case toml::node_type::integer:
            return json::value(node.as_integer()->get());
        case toml::node_type::floating_point:
            return json::value(node.as_floating_point()->get());
        case toml::node_type::boolean:
            return json::value(node.as_boolean()->get());
        default:
            break;
    }
    std::ostringstream text;  // dates and times
    node.visit([&text](const auto& value) {
        if constexpr (toml::is_date<decltype(value)> || toml::is_time<decltype(value)> || toml::is_date_time<decltype(value)>) {
            text << value.get();
        }
    });
    return json::value(text.str());
}

class YamlReader {
  public:
    Result<json::value> read(const YAML::Node& node, int depth) {
        if (depth > kDeepest || ++nodes_ > kMostNodes) {
            return Error{ErrorCode::kExhausted, "YAML: nested too deep, or too large"};
        }
        if (node.IsMap()) {
            json::object out;
            for (const auto& entry : node) {
                if (!entry.first.IsScalar()) {
                    return Error{ErrorCode::kInvalid, "YAML: a key that is no text"};
                }
                EG_TRY(json::value value, read(entry.second, depth + 1));
                out[entry.first.Scalar()] = std::move(value);
            }
            return json::value(std::move(out));
        }
        if (node.IsSequence()) {
            json::array out;
            for (const auto& entry : node) {
                EG_TRY(json::value value, read(entry, depth + 1));
                out.push_back(std::move(value));
            }
            return json::value(std::move(out));
        }
        if (!node.IsScalar()) return json::value(nullptr);
        return scalar(node);
    }

  private:
    static json::value scalar(const YAML::Node& node) {
        const std::string& text = node.Scalar();
        if (node.Tag() == "!") return json::value(text);  // quoted
        if (text == "true" || text == "True") return json::value(true);
        if (text == "false" || text == "False") return json::value(false);
        if (text == "null" || text == "~") return json::value(nullptr);
        std::int64_t number = 0;
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, number);
        if (parsed.ec == std::errc{} && parsed.ptr == end) return json::value(number);
        return json::value(text);
    }
    std::size_t nodes_ = 0;
};

}  // namespace

Result<json::value> parse_toml(std::string_view text) {
    try {
        return from_toml(toml::parse(text));
    } catch (const toml::parse_error& error) {
        return Error{
            ErrorCode::kInvalid,
            "line " + std::to_string(error.source().begin.line) + ", column " +
                std::to_string(error.source().begin.column) + ": " +
                std::string(error.description())};
    } catch (const std::exception& error) {
        return Error{ErrorCode::kInvalid, error.what()};
    }
}

Result<json::value> parse_yaml(std::string_view text) {
    try {
        return YamlReader().read(YAML::Load(std::string(text)), 0);
    } catch (const std::exception& error) {  // yaml-cpp names line and column
        return Error{ErrorCode::kInvalid, error.what()};
    }
}

}  // namespace egpu::doctor
