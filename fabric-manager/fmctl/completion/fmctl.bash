# SPDX-License-Identifier: Apache-2.0
# bash completion for fmctl: source it, or install it as share/bash-completion/completions/fmctl.

# First column of `fmctl NOUN list`, without its heading; nothing when fmd does not answer.
_fmctl_names() {
    fmctl "$1" list 2>/dev/null | awk 'NR > 1 { print $1 }'
}

_fmctl() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
    local words=() word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        [[ $word == -* ]] || words+=("$word")
    done
    local noun=${words[0]-} verb=${words[1]-} choices="--server --json --help --version"
    case $prev in
        --server) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;
        --host) choices=$(_fmctl_names host); noun=- ;;
        --as) choices="ram dax"; noun=- ;;
        --size) choices="128M 256M 512M 1G 2G 4G"; noun=- ;;
        --name | --limit) return ;;
    esac
    case "$noun $verb" in
        "- "*) ;;
        " ") choices+=" fabric host grant event doctor" ;;
        "fabric ") choices+=" show" ;;
        "host ") choices+=" list show fence" ;;
        "grant ") choices+=" create list show release" ;;
        "event ") choices+=" list" ;;
        "fabric show") choices+=" --watch" ;;
        "host show") choices+=" $(_fmctl_names host)" ;;
        "host fence") choices+=" --dry-run $(_fmctl_names host)" ;;
        "grant create") choices+=" --host --size --name --as --wait --dry-run" ;;
        "grant show") choices+=" $(_fmctl_names grant)" ;;
        "grant release") choices+=" --wait --dry-run $(_fmctl_names grant)" ;;
        "event list") choices+=" --follow --limit" ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$cur")
}

complete -F _fmctl fmctl
