#include "k8s/credentials.h"

#include "base/base64.h"
#include "base/files.h"
#include "base/log.h"

namespace egpu::k8s {

namespace {

constexpr auto kReadAgain = Seconds(60);
constexpr std::size_t kMaxToken = 64U << 10;

std::string fixed_header(const Config& config) {
    if (!config.token.empty()) return "Bearer " + config.token;
    if (config.username.empty()) return {};
    return "Basic " + base64_encode(config.username + ":" + config.password);
}

}  // namespace

Credentials::Credentials(const Config& config)
    : fixed_(fixed_header(config)), token_file_(config.token_file) {}

Status Credentials::read_file_now() {
    read_at_ = MonoClock::now();
    EG_TRY(std::string token, read_file(token_file_, kMaxToken));
    const std::size_t last = token.find_last_not_of(" \r\n\t");
    token.resize(last == std::string::npos ? 0 : last + 1);
    if (token.empty()) return Error{ErrorCode::kInvalid, "token file " + token_file_ + " is empty"};
    from_file_ = "Bearer " + token;
    return ok_status();
}

Result<std::string> Credentials::authorization() {
    if (token_file_.empty()) return fixed_;
    const std::lock_guard lock(mutex_);
    if (from_file_.empty() || MonoClock::now() - read_at_ > kReadAgain) {
        if (auto read = read_file_now(); !read) {
            if (from_file_.empty()) return read.error().wrap("credentials");
            log::warn(
                "the token file cannot be read, using the old token",
                {{"error", read.error().message}}
            );
        }
    }
    return from_file_;
}

bool Credentials::refresh(const std::string& used) {
    if (token_file_.empty()) return false;
    const std::lock_guard lock(mutex_);
    if (from_file_ != used) return true;  // another thread was faster
    return read_file_now().ok() && from_file_ != used;
}

}  // namespace egpu::k8s
