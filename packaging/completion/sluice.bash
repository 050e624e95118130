# bash completion for sluice(1)
_sluice() {
    local cur=${COMP_WORDS[COMP_CWORD]} words=("${COMP_WORDS[@]:1:COMP_CWORD-1}") plain=() w
    for w in "${words[@]}"; do [[ $w == -* ]] || plain+=("$w"); done
    case "${plain[0]-} ${plain[1]-}" in
    " ") COMPREPLY=($(compgen -W "stream put tail delivery inspect --endpoint --json --help --version" -- "$cur")) ;;
    "stream ") COMPREPLY=($(compgen -W "create list describe delete" -- "$cur")) ;;
    "delivery ") COMPREPLY=($(compgen -W "list describe" -- "$cur")) ;;
    "stream describe" | "stream delete" | "put " | "tail ")
        COMPREPLY=($(compgen -W "$(sluice stream list 2>/dev/null) --key --whole --from --until-now" -- "$cur")) ;;
    "delivery describe") COMPREPLY=($(compgen -W "$(sluice delivery list 2>/dev/null)" -- "$cur")) ;;
    *) COMPREPLY=($(compgen -f -- "$cur")) ;;
    esac
}
complete -F _sluice sluice
