// The product's version, from the file VERSION ("0.1.0").
#pragma once

namespace egpu {

extern const char* const kVersion;

}  // namespace egpu
