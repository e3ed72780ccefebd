// Structured logging to standard error: one event a line, `log::info("pod bound", {{"pod", key},
// {"ms", 3}})`.
//
// Levels are for readers: error = a human has to act; warn = degraded but working (there is a
// metric, too); info = a state change; debug = a decision. Never log secrets or whole objects.
// Thread-safe.
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace egpu::log {

enum class Level { kDebug, kInfo, kWarn, kError, kOff };
enum class Format { kLogfmt, kJson };

struct Field {
    std::string_view key;
    std::string value;

    Field(std::string_view k, std::string v) : key(k), value(std::move(v)) {}
    Field(std::string_view k, std::string_view v) : key(k), value(v) {}
    Field(std::string_view k, const char* v) : key(k), value(v) {}
    Field(std::string_view k, bool v) : key(k), value(v ? "true" : "false") {}
    template <std::integral T>
    Field(std::string_view k, T v) : key(k), value(std::to_string(v)) {}
};
using Fields = std::initializer_list<Field>;

// Call once at start; without it: level info, logfmt. `name` is the program's part, for example
// "agent".
void configure(std::string_view name, Level level, Format format);
bool enabled(Level level);
void write(Level level, std::string_view message, Fields fields);

inline void debug(std::string_view message, Fields fields = {}) {
    if (enabled(Level::kDebug)) write(Level::kDebug, message, fields);
}
inline void info(std::string_view message, Fields fields = {}) {
    write(Level::kInfo, message, fields);
}
inline void warn(std::string_view message, Fields fields = {}) {
    write(Level::kWarn, message, fields);
}
inline void error(std::string_view message, Fields fields = {}) {
    write(Level::kError, message, fields);
}

}  // namespace egpu::log
