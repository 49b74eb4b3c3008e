/*
 * Registers of PCI configuration space that more than one file needs: the command
 * register (PCI Local Bus 3.0, 6.2.2) and the message capabilities (6.8). Internal
 * to drivers/.
 */
#ifndef DRIVERS_PCI_REGS_H
#define DRIVERS_PCI_REGS_H

#define PCI_REG_COMMAND          0x04
#define PCI_COMMAND_IO           0x0001u
#define PCI_COMMAND_MEMORY       0x0002u
#define PCI_COMMAND_MASTER       0x0004u
#define PCI_COMMAND_INTX_DISABLE 0x0400u

#define PCI_CAPABILITY_MSI    0x05
#define PCI_CAPABILITY_VENDOR 0x09
#define PCI_CAPABILITY_MSIX   0x11

/* Message control, in the upper half of a capability's first word. */
#define PCI_MSI_ENABLE     0x0001u
#define PCI_MSI_MANY       0x0070u /* how many messages may be used: 0 is one */
#define PCI_MSI_64         0x0080u
#define PCI_MSI_MASKABLE   0x0100u
#define PCI_MSIX_MASK_ALL  0x4000u
#define PCI_MSIX_ENABLE    0x8000u
#define PCI_MSIX_TABLE_BAR 0x7u

#endif
