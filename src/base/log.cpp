#include "base/log.h"

#include <atomic>
#include <memory>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "base/json.h"

namespace egpu::log {
namespace {

struct State {
    std::shared_ptr<spdlog::logger> logger;
    Format format = Format::kLogfmt;
};

std::atomic<int> g_level{static_cast<int>(Level::kInfo)};

State& state() {
    static State s = [] {
        State fresh;
        fresh.logger = std::make_shared<spdlog::logger>(
            "edge-gpu", std::make_shared<spdlog::sinks::stderr_sink_mt>()
        );
        fresh.logger->set_level(spdlog::level::trace);
        fresh.logger->set_pattern(
            "time=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v", spdlog::pattern_time_type::utc
        );
        fresh.logger->flush_on(spdlog::level::trace);
        return fresh;
    }();
    return s;
}

spdlog::level::level_enum spd_level(Level level) {
    switch (level) {
        case Level::kDebug:
            return spdlog::level::debug;
        case Level::kInfo:
            return spdlog::level::info;
        case Level::kWarn:
            return spdlog::level::warn;
        case Level::kError:
            return spdlog::level::err;
        case Level::kOff:
            return spdlog::level::off;
    }
    return spdlog::level::info;
}

// logfmt leaves simple words bare and quotes everything else.
void append_logfmt_value(std::string& out, std::string_view value) {
    bool plain = !value.empty();
    for (const char c : value) {
        if (static_cast<unsigned char>(c) <= ' ' || c == '"' || c == '=' || c == '\\' ||
            static_cast<unsigned char>(c) >= 0x7F) {
            plain = false;
        }
    }
    if (plain) {
        out += value;
    } else {
        json::append_quoted(out, value);
    }
}

}  // namespace

void configure(std::string_view name, Level level, Format format) {
    State& s = state();
    s.format = format;
    g_level.store(static_cast<int>(level));
    const std::string part(name);
    s.logger->set_pattern(
        format == Format::kJson
            ? R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l","part":")" + part + R"(",%v})"
            : "time=%Y-%m-%dT%H:%M:%S.%eZ level=%l part=" + part + " %v",
        spdlog::pattern_time_type::utc
    );
}

bool enabled(Level level) {
    return static_cast<int>(level) >= g_level.load(std::memory_order_relaxed);
}

void write(Level level, std::string_view message, Fields fields) {
    if (!enabled(level)) return;
    const State& s = state();
    std::string line;
    if (s.format == Format::kJson) {
        line += "\"msg\":";
        json::append_quoted(line, message);
        for (const Field& f : fields) {
            line.push_back(',');
            json::append_quoted(line, f.key);
            line.push_back(':');
            json::append_quoted(line, f.value);
        }
    } else {
        line += "msg=";
        append_logfmt_value(line, message);
        for (const Field& f : fields) {
            line.push_back(' ');
            line += f.key;
            line.push_back('=');
            append_logfmt_value(line, f.value);
        }
    }
    s.logger->log(spd_level(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace egpu::log
