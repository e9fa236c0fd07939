// SPDX-License-Identifier: Apache-2.0
// What can be preloaded into, and with which environment.
#include "pooltier/launch.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

using namespace pooltier;
using libpool::tier::Settings;

namespace {

class Launch : public testing::Test {
  protected:
    void SetUp() override {
        char name[] = "/tmp/pooltier-launch-XXXXXX";
        folder_ = mkdtemp(name);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::string file(const std::string& name, const std::string& content, mode_t mode = 0755) {
        std::string path = folder_ + "/" + name;
        std::ofstream(path, std::ios::binary) << content;
        chmod(path.c_str(), mode);
        return path;
    }

    static std::string elf(unsigned char word, uint32_t segment,
                           uint64_t segments_at = sizeof(Elf64_Ehdr)) {
        Elf64_Ehdr header{};
        std::memcpy(header.e_ident, ELFMAG, SELFMAG);
        header.e_ident[EI_CLASS] = word;
        header.e_phoff = segments_at;
        header.e_phnum = 1;
        Elf64_Phdr only{};
        only.p_type = segment;
        std::string out(reinterpret_cast<char*>(&header), sizeof header);
        return out.append(reinterpret_cast<char*>(&only), sizeof only);
    }

    std::string folder_;
};

std::vector<std::string> environment(std::vector<const char*> before, const Settings& settings,
                                     const std::string& library) {
    before.push_back(nullptr);
    return environment_for(before.data(), settings, library);
}

}  // namespace

TEST_F(Launch, OrdinaryProgramsTakeIt) {
    EXPECT_EQ(cannot_preload("/bin/sh"), std::nullopt);
    EXPECT_EQ(cannot_preload(file("script", "#! /bin/sh -e\n")), std::nullopt);
    EXPECT_EQ(cannot_preload(file("dynamic", elf(ELFCLASS64, PT_INTERP))), std::nullopt);
}

TEST_F(Launch, TextWithoutAFirstLineIsTheShells) {
    EXPECT_TRUE(is_shell_script(file("commands", "exit 3\n")));
    EXPECT_TRUE(is_shell_script(file("empty", "")));
    EXPECT_FALSE(is_shell_script(file("script", "#!/bin/sh\n")));
    EXPECT_FALSE(is_shell_script(file("bytes", std::string("a\0b\n", 4))));
    EXPECT_FALSE(is_shell_script(file("program", elf(ELFCLASS64, PT_INTERP))));
}

TEST_F(Launch, StaticAndForeignOnesDoNot) {
    std::string is_static = file("static", elf(ELFCLASS64, PT_LOAD));
    EXPECT_TRUE(cannot_preload(is_static)->starts_with(is_static + " is statically linked"));
    EXPECT_TRUE(cannot_preload(file("script", "#!" + is_static + "\n")));
    EXPECT_NE(cannot_preload(file("small", elf(ELFCLASS32, PT_INTERP)))->find("32-bit"),
              std::string::npos);
    // A header that points out of the file: no crash, and no interpreter.
    EXPECT_TRUE(cannot_preload(file("far", elf(ELFCLASS64, PT_INTERP, UINT64_MAX - 8))));
}

TEST_F(Launch, SetUserIdProgramsDoNot) {
    if (geteuid() != 0) GTEST_SKIP() << "only root can give a file away";
    std::string path = file("suid", elf(ELFCLASS64, PT_INTERP));
    ASSERT_EQ(chown(path.c_str(), 1, 1), 0);
    ASSERT_EQ(chmod(path.c_str(), 04755), 0);
    EXPECT_NE(cannot_preload(path)->find("set-user-ID"), std::string::npos);
}

TEST_F(Launch, ScriptsThatPointAtThemselvesEnd) {
    std::string path = folder_ + "/loop";
    file("loop", "#!" + path + "\n");
    EXPECT_EQ(cannot_preload(path), std::nullopt);  // execve says ELOOP
}

TEST_F(Launch, ProgramsAreFoundAsTheShellDoes) {
    std::string path = file("prog", "x");
    file("plain", "x", 0644);
    EXPECT_EQ(*find_program("prog", ("/nowhere:" + folder_).c_str()), path);
    EXPECT_EQ(*find_program(path, ""), path);
    EXPECT_EQ(find_program("plain", folder_.c_str()).error().code, EACCES);
    EXPECT_EQ(find_program(folder_ + "/plain", "").error().code, EACCES);
    EXPECT_EQ(find_program("prog", "/nowhere").error().code, ENOENT);
    EXPECT_EQ(find_program(folder_, "").error().code, ENOENT);
}

TEST_F(Launch, TheLibraryComesFirstAndOldWordsGo) {
    Settings settings;
    settings.on = true;
    settings.move_limit_bytes_per_s = 5 << 20;
    EXPECT_EQ(environment(
                  {"A=1", "LD_PRELOAD=x.so", "POOLTIER_CPU=7", "POOLTIER_CONFIG=f", "POOLTIERS=1"},
                  settings, "/l/libpool-run.so"),
              (std::vector<std::string>{"A=1", "POOLTIERS=1", "LD_PRELOAD=/l/libpool-run.so:x.so",
                                        "POOLTIER=1", "POOLTIER_MBPS=5"}));
    EXPECT_EQ(environment({"LD_PRELOAD=x.so"}, Settings{}, ""),
              (std::vector<std::string>{"LD_PRELOAD=x.so", "POOLTIER=0"}));
}
