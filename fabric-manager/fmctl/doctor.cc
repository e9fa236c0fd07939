// SPDX-License-Identifier: Apache-2.0
// fmctl doctor
#include "fmctl/command.h"
#include "fmctl/render.h"

namespace cxlpool::fmctl {
namespace {

constexpr int doctor_hold_s = 90;  // fmd asks every device anew, the silent ones too

}  // namespace

int doctor(Command& command) {
    const auto text = command.client.get("/v1/doctor", doctor_hold_s);
    if (!text) return say(text.error());
    const auto found = wire::decode_doctor(*text);
    if (!found) return say(found.error());
    if (command.json())
        print_json(*text);
    else
        print(doctor_table(*found));
    return found->ok ? exit_ok : exit_refused;
}

}  // namespace cxlpool::fmctl
