// SPDX-License-Identifier: Apache-2.0
// fmctl doctor
#include "fmctl/command.h"
#include "fmctl/render.h"

namespace cxlpool::fmctl {

int doctor(Command& command) {
    const auto text = command.client.get("/v1/doctor", 120);
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
