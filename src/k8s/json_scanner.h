// A strict JSON tokeniser (RFC 8259) for text that arrives in pieces and is hundreds of times
// larger than what is wanted of it: values nobody asked for are checked and passed at memory speed,
// and nothing is copied. Boost.JSON reads what is wanted (a pod). Untrusted input; no allocation.
//
// The caller keeps the text: what lies before `at` may be dropped, the rest must be there again,
// longer, in the next call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "k8s/plain_text.h"

namespace egpu::k8s {

class JsonScanner {
  public:
    enum class Token : std::uint8_t {
        kObject,
        kObjectEnd,
        kArray,
        kArrayEnd,
        kKey,
        kString,
        kNumber,
        kTrue,
        kFalse,
        kNull,
        kSkipped,  // the end of what skip_value() or skip_rest() asked to pass
        kMore,     // the text ends before the next token does
        kEnd,      // after the root value
        kBad       // not JSON at `at`: see problem()
    };
    static constexpr int kMaxDepth = 64;
    static constexpr std::size_t kMaxNumber = 1024;

    // The next token of [at, end); `at` moves behind it. With kMore, `at` is where it begins.
    Token next(const char*& at, const char* end);

    // Of the last kKey or kString: between its quotes, as written. Of the last kNumber: all of it.
    std::string_view text() const { return text_; }
    // The text is as written: no escapes, no byte beyond ASCII.
    bool plain() const { return plain_; }

    // After kKey: its value is passed. One kSkipped, when it is complete.
    void skip_value() { skip_to_ = depth_; }
    // After kObject or kArray: passed to its end.
    void skip_rest() { skip_to_ = depth_ - 1; }

    // Within an array: passes the strings that lie in [at, end) as "a","b", and are plain, each
    // followed by one more string. accept(text) is called for each; false: next() shall return it.
    // What remains is for next(), the last string of the array in any case.
    template <class Accept>
    void pass_plain_strings(const char*& at, const char* end, Accept&& accept);

    // Within an array: where its next string would begin in [at, end), or nullptr. When that string
    // and those after it are known to be plain, tightly written ("a","b","c",) and followed by one
    // more, passed_strings() passes them: `behind` is where the one more begins.
    const char* next_string(const char* at, const char* end) const;
    void passed_strings(const char*& at, const char* behind) {
        at = behind;
        expect_ = Expect::kValue;
        checked_ = 0;
    }

    bool done() const { return expect_ == Expect::kEnd; }
    int depth() const { return depth_; }
    const char* problem() const { return problem_; }

  private:
    enum class Expect : std::uint8_t {
        kValue,
        kFirstValue,  // or the array's end
        kKey,
        kFirstKey,  // or the object's end
        kColon,
        kNext,  // a comma or the container's end
        kEnd
    };
    enum class Passed : std::uint8_t { kWhole, kPart, kBad };

    // The quick way through what is skipped, as far as it is plain and tightly written; stops
    // before the end of it, and before whatever step() is to look at.
    void skip_plain(const char*& at, const char* end);
    template <bool kSkipping>
    Token step(const char*& at, const char* end);
    template <bool kSkipping>
    Token string(const char*& at, const char* end, Token token);
    Token value(const char*& at, const char* end);
    Token open(const char*& at, bool object);
    Token close(const char*& at);
    Token number(const char*& at, const char* end);
    Token word(const char*& at, const char* end, std::string_view word, Token token);
    Token bad(const char* problem) {
        problem_ = problem;
        return Token::kBad;
    }
    // Of the inside of a string, up to its closing quote.
    Passed pass_string(const char*& at, const char* end);
    Passed pass_escape(const char*& at, const char* end);

    bool in_object() const { return (objects_ & 1) != 0; }
    void value_is_complete() { expect_ = depth_ == 0 ? Expect::kEnd : Expect::kNext; }

    Expect expect_ = Expect::kValue;
    bool plain_ = true;
    bool inside_ = false;             // while skipping: `at` is within a string
    Token inside_of_ = Token::kMore;  // and that is a key or a value
    int depth_ = 0;
    int skip_to_ = -1;           // skipping until a value at this depth is complete
    std::uint64_t objects_ = 0;  // of the open containers, the innermost lowest: 1 is an object
    std::size_t checked_ = 0;    // bytes of the string that begins at `at` already looked at
    std::string_view text_;
    const char* problem_ = "";
};

inline const char* JsonScanner::next_string(const char* at, const char* end) const {
    if (in_object() || depth_ == 0 || skip_to_ >= 0) return nullptr;
    if (expect_ == Expect::kNext) {
        if (at == end || *at != ',') return nullptr;
        ++at;
    } else if (expect_ != Expect::kValue && expect_ != Expect::kFirstValue) {
        return nullptr;
    }
    return at != end && *at == '"' ? at : nullptr;
}

template <class Accept>
void JsonScanner::pass_plain_strings(const char*& at, const char* end, Accept&& accept) {
    const char* from = next_string(at, end);
    while (from != nullptr && from != end && *from == '"') {
        const char* const close = pass_plain(from + 1, end);
        if (end - close < 3 || close[0] != '"' || close[1] != ',' || close[2] != '"') return;
        if (!accept(std::string_view(from + 1, close))) return;
        from = at = close + 2;
        expect_ = Expect::kValue;
        checked_ = 0;
    }
}

}  // namespace egpu::k8s
