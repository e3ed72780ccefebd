#pragma once

namespace egpu::guard {

// In the child of a fork.
void forget_vmm();

}  // namespace egpu::guard
