// An immutable picture of the demand that is expected and of what is scarce: what a potential
// policy's scores are made of. Replaced as a whole, never changed.
#pragma once

#include <memory>

#include "core/policy/fragmentation.h"
#include "core/policy/futures.h"
#include "core/policy/scarcity.h"

namespace egpu::core {

struct Outlook {
    std::shared_ptr<const Fragmentation> fragmentation;  // fgd
    std::shared_ptr<const Futures> futures;              // fill-gradient, both
    std::shared_ptr<const Scarcity> scarcity;
};

}  // namespace egpu::core
