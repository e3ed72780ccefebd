// A progress bar on standard error, where that is a terminal; nothing elsewhere.
#pragma once

namespace egpu::simulate {

class ProgressBar {
  public:
    ProgressBar();
    ~ProgressBar();  // wipes the line
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    void show(double done);  // 0..1

  private:
    bool terminal_;
    int width_ = 0;   // of the bar
    int shown_ = -1;  // thousandths
};

}  // namespace egpu::simulate
