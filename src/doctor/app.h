// `edge-gpu doctor`.
#pragma once

namespace egpu::doctor {

int run_doctor(int argc, char** argv);

}  // namespace egpu::doctor
