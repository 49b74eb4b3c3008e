"""All boot tests, in the order of the list that --list prints."""
import cases_disks
import cases_exits
import cases_hostile
import cases_large
import cases_machine
import cases_panic
import cases_smp
import cases_swap
import cases_tiers

ALL = (cases_machine.CASES + cases_panic.CASES + cases_tiers.CASES + cases_large.CASES +
       cases_swap.CASES + cases_disks.CASES + cases_hostile.CASES + cases_smp.CASES +
       cases_exits.CASES)
