"""What every right backward has, whatever its derivatives: zeros at zero, the same bits again, inputs untouched …"""
