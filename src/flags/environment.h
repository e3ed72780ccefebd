// The environment as a value, so that reading flags stays a pure function.
#pragma once

#include <map>
#include <string>

namespace egpu::flags {

using Environment = std::map<std::string, std::string>;

// That of this process. Not thread-safe against setenv().
Environment process_environment();

// The variable's value, or "" when it is not set.
std::string value_of(const Environment& environment, const char* name);

}  // namespace egpu::flags
