// SPDX-License-Identifier: Apache-2.0
// A program that is not tiered by itself: it opens a userfaultfd, which only it can, and hands it
// to whoever tiers it from outside (`pooltier attach`), over the control socket.
#pragma once

#include "tier/engine_control.h"
#include "tier/uffd.h"

namespace libpool::run {

class HandOver final : public tier::UntieredControl {
  public:
    static Result<std::unique_ptr<HandOver>> open() {
        auto uffd = tier::open_uffd(tier::rwp_kind);
        if (!uffd) return std::unexpected(uffd.error());
        return std::unique_ptr<HandOver>(new HandOver(std::move(*uffd)));
    }
    Result<int> descriptor() override { return uffd_.get(); }

  private:
    explicit HandOver(tier::Descriptor uffd)
        : UntieredControl("it waits to be tiered from outside (pooltier attach)"),
          uffd_(std::move(uffd)) {}
    const tier::Descriptor uffd_;
};

}  // namespace libpool::run
