// The strategies that need nothing on the node but NVIDIA's driver.
#pragma once

#include <memory>
#include <string>

#include "inject/artefacts.h"
#include "inject/injector.h"

namespace egpu::inject {

std::unique_ptr<Injector> make_direct_injector(
    std::shared_ptr<Artefacts> artefacts, std::string why
);
std::unique_ptr<Injector> make_cdi_injector(std::shared_ptr<Artefacts> artefacts, std::string why);

}  // namespace egpu::inject
