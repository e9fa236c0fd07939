// SPDX-License-Identifier: Apache-2.0
// All signals blocked on this thread, while the object lives: a thread that is made meanwhile
// inherits that for good. A program's signals are its own. One that blocks SIGTERM later, to take
// it by sigwait, blocks it on the threads it knows, and the signal would end it through ours.
#pragma once

#include <signal.h>

namespace libpool {

class SignalsBlocked {
  public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;

  private:
    sigset_t before_;
};

}  // namespace libpool
